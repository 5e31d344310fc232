#!/usr/bin/env bash
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
#
# Collect what nova-freemem has written to nova-compute's log on this host, and
# which guests have outstanding memory, into the folder $RESULTS. Exit code 1:
# nova-compute has not loaded the plugin as $ENABLED wants it (true, false), or
# the plugin has logged an error, or memory of a guest is outstanding.

set -euo pipefail

unit=devstack@n-cpu.service
# The reconciler looks at each guest once in 60 s.
attempts=12
pause_seconds=10

failed=false
fail() {
    printf '%s\n' "$*" >&2
    failed=true
}

mkdir -p "$RESULTS"
log=$RESULTS/nova-freemem.txt
journalctl --unit "$unit" --output short-precise --no-pager \
    | { grep -F nova_freemem || true; } >"$log"

case $ENABLED in
true) loaded='nova_freemem is enabled' ;;
false) loaded='nova_freemem is loaded but not enabled' ;;
esac
grep -qF "$loaded" "$log" \
    || fail "nova-compute does not say in its log: '$loaded'"
error='(ERROR|CRITICAL) nova_freemem'
errors=$(grep -cE "$error" "$log" || true)
[[ $errors -eq 0 ]] \
    || fail "nova-freemem has logged $errors lines of errors:" \
        "$(grep -E "$error" "$log")"

for ((attempt = 1; ; attempt++)); do
    if ! nova-freemem list -f json >"$RESULTS/outstanding.json"; then
        fail "nova-freemem list has failed"
        break
    fi
    outstanding=$(<"$RESULTS/outstanding.json")
    [[ $outstanding != '[]' ]] || break
    if [[ $attempt -eq $attempts ]]; then
        fail "memory of guests is still outstanding: $outstanding"
        break
    fi
    sleep "$pause_seconds"
done

[[ $failed == false ]]

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
# Check the DevStack plugin against a real DevStack tree.
#
#   sudo tools/devstack.sh --devstack DIR
#
# The tests of tools/test.sh gate tell the same stories with stand-ins for
# DevStack's functions. Here they are DevStack's own, from a copy of DIR, with
# a copy of /etc in the place of /etc for them alone; what is replaced all the
# same is printed. Nothing of the machine and nothing in DIR is changed. Without
# --devstack nothing is checked, and that is said. Exit code 1: a test failed.
# Exit code 2: refused, with one line that says why.

set -euo pipefail

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

usage='usage: sudo tools/devstack.sh --devstack DIR'
# Of what DevStack installs before anything else, what its functions call here.
programs=(gawk lsb_release uuidgen)

case ${1:-} in
'')
    say "left out: no DevStack tree was named ($usage)"
    exit 0
    ;;
-h | --help)
    printf '%s\n' "$usage"
    exit 0
    ;;
--devstack) ;;
*) refuse "$usage" ;;
esac
[[ $# -eq 2 ]] || refuse "$usage"
[[ -f $2/stack.sh && -f $2/stackrc && -f $2/lib/nova ]] \
    || refuse "no DevStack tree: $2 (its stack.sh, stackrc or lib/nova is" \
        "not there)"
[[ $EUID -eq 0 ]] \
    || refuse "a mount namespace needs root: sudo tools/devstack.sh"
for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || refuse "no $program here:" \
        "apt-get install gawk lsb-release uuid-runtime, as DevStack would"
done
DEVSTACK=$(cd "$2" && pwd -P)
export DEVSTACK
venv=$(install_main venv)
export PATH=$venv/bin:$PATH
cd "$root"

printf 'DevStack: %s\n' "$DEVSTACK"
if [[ -e $DEVSTACK/.git ]] && command -v git >/dev/null; then
    git -c safe.directory="$DEVSTACK" -C "$DEVSTACK" \
        log -1 --format='revision: %H of %cs'
fi
printf 'replaced:\n'
(ROOT='' source tests/gate/devstack/tree.sh && replaced) | sed 's/^/  /'
exec python -m tests.gate.on_devstack

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
# Run Nova's own tests of its libvirt driver with our driver in its place:
#
#   tools/nova-suite.sh [--unit] [RELEASE...]    all without an argument
#
# They are the unit tests of the driver and the functional tests of what moves
# guests or depends on where they are, as the Nova that is installed has them.
# What does not pass runs once more with Nova's driver: a difference is a test
# that passes there. --unit leaves the functional tests out, which take ten
# times as long. Needs no root. The table, as reStructuredText, and the logs
# stay in $NOVA_FREEMEM_CACHE/novas. Exit code 1: there is a difference. Exit
# code 2: refused, with one line that says why.

set -euo pipefail

# shellcheck source=tools/nova-venvs.sh
source "$(dirname "${BASH_SOURCE[0]}")/nova-venvs.sh"

options=()
case ${1:-} in
-h | --help)
    printf 'usage: tools/nova-suite.sh [--unit] [RELEASE...]\nreleases: %s\n' \
        "${supported[*]}"
    exit 0
    ;;
--unit)
    options=(--unit)
    shift
    ;;
esac
choose_releases "$@"
run_on_releases suite "${options[@]}"

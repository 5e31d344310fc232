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
# Run the functional tests inside each supported Nova:
#
#   tools/novas.sh [RELEASE...]    31, 32, ...: all without an argument
#
# Each release is installed from PyPI in an environment of its own, with what
# was current in its days, and runs on eventlet; the newest on native threads
# and then on eventlet. Needs no root. The last line counts the tests: "N
# passed, N failed[, N skipped]". The table above it, as reStructuredText, and
# the logs stay in $NOVA_FREEMEM_CACHE/novas. Exit code 1: a test failed. Exit
# code 2: refused, with one line that says why.

set -euo pipefail

# shellcheck source=tools/nova-venvs.sh
source "$(dirname "${BASH_SOURCE[0]}")/nova-venvs.sh"

case ${1:-} in
-h | --help)
    printf 'usage: tools/novas.sh [RELEASE...]\nreleases: %s\n' \
        "${supported[*]}"
    exit 0
    ;;
esac
choose_releases "$@"
run_on_releases functional

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
# Check the style of everything: ruff, OpenStack's hacking rules, mypy over
# the package and bashate over the shell scripts. All of them run, and all
# of them have to pass.

set -euo pipefail

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

status=0

check() {
    printf '===== %s\n' "$1"
    "$@" || status=1
}

venv=$(install_main venv)
export PATH=$venv/bin:$PATH
cd "$root"
check ruff check .
check flake8
check mypy
check bashate tools/*.sh .ci/run devstack/plugin.sh
exit "$status"

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
# Check everything that .pre-commit-config.yaml names, in every file that git
# tracks: style, types, the arrows between the folders, spelling, the scripts,
# the release notes, and that the manual can be built.
#
#   tools/pep8.sh [hook]    all hooks, or one of them
#
# Exit code 1: a check failed, each says what it found. Exit code 2: refused,
# with one line that says why.

set -euo pipefail

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

command -v git >/dev/null || refuse "no git here: the checks ask it for files"
trust_clone
[[ $(git -C "$root" rev-parse --show-toplevel 2>/dev/null) == "$root" ]] \
    || refuse "$root is not a git checkout: the checks ask git for its files"
venv=$(install_main venv)
export PATH=$venv/bin:$PATH
export PRE_COMMIT_HOME=$cache/pre-commit
cd "$root"
if [[ $(git rev-parse --is-shallow-repository) == true ]]; then
    say "the release notes are left out: reno reads them out of the history," \
        "and this clone has not all of it (git fetch --unshallow)"
    export SKIP=${SKIP:+$SKIP,}reno,release-notes
fi
exec pre-commit run --all-files "$@"

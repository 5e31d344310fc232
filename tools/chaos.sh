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
# Inject faults while guests migrate, and check that nothing is lost:
#
#   sudo tools/chaos.sh --matrix [--clouds N] [--phase PHASE...]
#                       [--fault FAULT...] [--no-plugin]
#                       [--json FILE [--rest]] [--rst FILE]
#   sudo tools/chaos.sh --seed N --minutes M [--json FILE]
#   sudo tools/chaos.sh --soak N [--json FILE]
#
# What it needs is installed first. A wrong argument, a missing right or a busy
# machine is refused before that, with one line and exit code 2.

set -euo pipefail

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

preflight chaos "$@"
venv=$(install_main lab)
# From where the caller stands: a file named by an argument is there.
export PATH=$venv/bin:$PATH PYTHONPATH=$root
exec "$venv/bin/python" -P -m tests.chaos "$@"

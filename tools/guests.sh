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
# Migrate guests that run what guests do run (Debian with PostgreSQL and the
# like), without and with the plugin, and show what their users notice:
#
#   sudo tools/guests.sh [--case NAME...] [--method NAME...] [--rounds N]
#       [--quick] [--json FILE]
#
# The table and the picture of FILE for the manual:
#
#   python -m tests.guests.report FILE [--rst OUT] [--svg OUT]
#
# What it needs is installed first; a wrong argument, a missing right or a
# busy machine is answered before that, with one line and exit code 2.

set -euo pipefail

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

preflight guests "$@"
venv=$(install_main lab)
# From where the caller stands: a file named by an argument is there.
export PATH=$venv/bin:$PATH PYTHONPATH=$root
exec "$venv/bin/python" -P -m tests.guests "$@"

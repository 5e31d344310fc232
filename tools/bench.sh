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
# Measure live migrations without and with the plugin, in its modes, of guests
# that have done different things, and show what they cost:
#
#   sudo tools/bench.sh [--quick|--bars] [--rounds N] [--scenario NAME...]
#                       [--link MBIT|none...] [--method NAME...]
#                       [--reporting on|off] [--json FILE] [--out DIR]
#
# How far the simulation is off the figures in FILE (bench.json):
#
#   python -m tests.bench.fit FILE [--json OUT] [--rst OUT]
#
# The tables of FILE as reStructuredText, and its picture:
#
#   python -m tests.bench.report FILE [--rst OUT] [--svg OUT]
#
# What it needs is installed first; a wrong argument, a missing right or a
# busy machine is answered before that, with one line and exit code 2.

set -euo pipefail

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

preflight bench "$@"
venv=$(install_main lab)
# From where the caller stands: a file named by an argument is there.
export PATH=$venv/bin:$PATH PYTHONPATH=$root
exec "$venv/bin/python" -P -m tests.bench "$@"

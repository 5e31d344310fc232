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
# Fuzz everything that the plugin reads from a guest, guided by coverage.
#
#   tools/fuzz.sh [--seconds N] [target...]   60 s for each target by default
#   tools/fuzz.sh --replay FILE target        one input again
#
# Needs no root. Corpora, findings, results.json and table.rst stay in
# $NOVA_FREEMEM_CACHE/fuzz. Exit code 1: there is a finding, and the last
# lines say how to run it again.

set -euo pipefail

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

# The fuzzer is installed beside the environment, not into it.
make_fuzzer() {
    local venv=$1 requirements=$root/tests/fuzz/requirements.txt fuzzer uv
    fuzzer=$place/atheris-$(cat "$requirements" "$venv/pyvenv.cfg" \
        | sha256sum | cut -c 1-16)
    if [[ ! -e $fuzzer/complete ]]; then
        rm -rf "$place"/atheris-*
        uv=$(find_uv)
        inherit_pip_settings "$uv"
        quietly "$log" "$uv" pip install --python "$venv/bin/python" \
            --target "$fuzzer" --only-binary :all: \
            --requirements "$requirements"
        touch "$fuzzer/complete"
    fi
    printf '%s\n' "$fuzzer"
}

venv=$(install_main venv)
log=$cache/install.log
python=$(find_python)
place=$cache/fuzz
mkdir -p "$place"
fuzzer=$(make_fuzzer "$venv")
cd "$root"
PYTHONPATH=$fuzzer exec "$venv/bin/python" -m tests.fuzz --place "$place" "$@"

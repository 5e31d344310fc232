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
# The releases of Nova that the plugin supports, and a virtual environment for
# each: tools/novas.sh and tools/nova-suite.sh source this file.

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

# The newest is the one that every suite runs with.
newest=$(sed -n 's/^nova==\([0-9]*\).*/\1/p' "$root/constraints.txt")
mapfile -t supported < <(
    printf '%s\n' "$root"/tests/novas/constraints-*.txt \
        | sed 's/.*-\([0-9]*\)[.]txt/\1/'
    printf '%s\n' "$newest"
)

# The releases that the words name, all of them where they name none.
choose_releases() {
    local word
    releases=("$@")
    [[ $# -gt 0 ]] || releases=("${supported[@]}")
    for word in "${releases[@]}"; do
        [[ " ${supported[*]} " == *" $word "* ]] || refuse \
            "no such release of Nova: '$word'; choose from ${supported[*]}"
    done
}

nova_venv_path() {
    local release=$1
    {
        "$python" -VV
        printf '%s\n' "$python" "$root" "$(pkg-config --modversion libvirt)"
        cat "$root/tests/novas/constraints-$release.txt" \
            "$root"/{,tests/novas/}requirements.txt
    } | sha256sum | cut -c 1-16 | sed "s|^|$cache/venv-nova-$release-|"
}

make_nova_venv() {
    local venv=$1 release=$2
    make_venv "$venv" \
        --constraints "$root/tests/novas/constraints-$release.txt" \
        --requirements "$root/requirements.txt" \
        --requirements "$root/tests/novas/requirements.txt"
}

# The environment of a release; that of every suite is there already.
install_nova() {
    local release=$1 venv=$2 python log=$cache/install.log
    if [[ $release != "$newest" ]]; then
        python=$(find_python)
        exec 9>"$cache/lock"
        flock 9
        venv=$(nova_venv_path "$release")
        [[ -e $venv/complete ]] || make_nova_venv "$venv" "$release"
        install_project "$venv"
        touch "$venv"
    fi
    printf '%s\n' "$venv"
}

# Run a command of tests/novas on the releases that were chosen.
run_on_releases() {
    local venv release environments=()
    venv=$(install_main venv)
    for release in "${releases[@]}"; do
        environments+=("$release=$(install_nova "$release" "$venv")")
    done
    cd "$root"
    PATH=$venv/bin:$PATH exec python -m tests.novas "$@" \
        --place "$cache/novas" "${environments[@]}"
}

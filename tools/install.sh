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
# Install what the tests and the lab stand on.
#
#   tools/install.sh venv   the virtual environment of every suite
#   tools/install.sh lab    that, and the lab's Debian packages (root)
#   tools/install.sh gate   the environment of Zuul's and Ansible's own checks
#   tools/install.sh tempest
#                           the environment of tempest, with our plugin for it
#
# The last line of standard output is the path of the environment; all
# that is said on the way goes to standard error. What is downloaded stays
# in $NOVA_FREEMEM_CACHE. Exit code 2: nothing could be done here, and the
# line printed says what is missing.

set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
if [[ $EUID -eq 0 ]]; then
    default_cache=/var/cache/nova-freemem
else
    default_cache=${XDG_CACHE_HOME:-$HOME/.cache}/nova-freemem
fi
cache=${NOVA_FREEMEM_CACHE:-$default_cache}

# Each process of a suite imports a thousand modules. They are compiled once,
# even where the caller's environment forbids to keep the result.
unset PYTHONDONTWRITEBYTECODE

# QEMU before 8.2 corrupts a writing guest in a TCG migration (seen with
# 7.2); libvirt of the same age does not know free page reporting well.
qemu_minimum=8.2
libvirt_minimum=10

# libvirt-python is built from source, against the headers installed.
build_packages=(gcc libc6-dev pkg-config libvirt-dev)
lab_packages=(
    qemu-system-x86 qemu-utils
    libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
    mariadb-server-core mariadb-client-core rabbitmq-server
    e2fsprogs iproute2 mmdebstrap openssl procps
)
# What would start at the next boot if it stayed enabled; the lab runs
# these programs itself.
service_packages=(
    libvirt-daemon libvirt-daemon-common libvirt-daemon-log
    libvirt-daemon-driver-qemu rabbitmq-server erlang-base
)

say() { printf '%s\n' "$*" >&2; }

refuse() {
    say "$*"
    exit 2
}

# Run a command with its output in a log; show the log's end if it fails.
quietly() {
    local log=$1
    shift
    if ! "$@" >>"$log" 2>&1; then
        tail -n 30 "$log" >&2
        say "failed: $* (all of it in $log)"
        return 1
    fi
}

retry() {
    local attempt
    for attempt in 1 2 3 4; do
        "$@" && return
        say "attempt $attempt failed: $*"
        sleep $((attempt * 5))
    done
    "$@"
}

installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) \
        == installed ]]
}

missing_packages() {
    local package
    for package in "$@"; do
        installed "$package" || printf '%s\n' "$package"
    done
}

# The version that apt would install, without epoch.
candidate() {
    apt-cache policy "$1" | sed -nE 's/^ +Candidate: ([0-9]+:)?(.*)/\2/p'
}

# Replacing a hypervisor that somebody else's guests run on is not ours to
# do: stop at one that is too old.
refuse_old_hypervisor() {
    local package minimum version
    while read -r package minimum; do
        installed "$package" || continue
        version=$(dpkg-query -W -f '${Version}' "$package")
        version=${version#*:}
        dpkg --compare-versions "$version" ge "$minimum" || refuse \
            "$package $version is installed here and the lab needs" \
            "$minimum or later; it is not replaced: use another machine"
    done <<EOF
qemu-system-x86 $qemu_minimum
libvirt-daemon $libvirt_minimum
libvirt0 $libvirt_minimum
EOF
}

# Debian 12 has a recent QEMU and libvirt only in its backports. The mirror
# is the one apt uses already. The variables in quotes are apt's.
# shellcheck disable=SC2016
enable_backports() {
    local codename mirror keyring list
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    if [[ -n $(apt-get indextargets --format '$(SITE)' \
        "Created-By: Packages" "Codename: $codename-backports") ]]; then
        return
    fi
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        "Created-By: Packages" "Origin: Debian" "Codename: $codename" \
        | head -n 1)
    [[ -n $mirror ]] || refuse \
        "apt has no Debian mirror of $codename to take QEMU" \
        "$qemu_minimum and libvirt $libvirt_minimum from"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    list=/etc/apt/sources.list.d/nova-freemem-backports.list
    say "enabling $codename-backports in $list"
    printf 'deb [signed-by=%s] %s %s-backports main\n' \
        "$keyring" "$mirror" "$codename" >"$list"
    retry quietly "$log" apt-get -q update
}

# Only these come from backports: a blanket target release would replace
# systemd as well.
write_preferences() {
    cat >"$1" <<EOF
Package: src:qemu src:libvirt src:seabios
Pin: release a=*-backports
Pin-Priority: 700
EOF
}

forbid_service_start() {
    local policy=/usr/sbin/policy-rc.d
    [[ -e $policy ]] && return
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
}

# A package that is not there has no units.
disable_units() {
    local units
    command -v systemctl >/dev/null || return 0
    mapfile -t units < <(dpkg -L "$@" 2>/dev/null | sed -nE \
        's#^(/usr)?/lib/systemd/system/([^/@]*[.](service|socket))$#\2#p')
    [[ ${#units[@]} -eq 0 ]] \
        || quietly "$log" systemctl disable "${units[@]}"
}

install_packages() {
    local missing absent preferences started=$SECONDS
    mapfile -t missing < <(missing_packages "$@")
    refuse_old_hypervisor
    [[ ${#missing[@]} -gt 0 ]] || return 0
    [[ $EUID -eq 0 ]] || refuse \
        "missing Debian packages, and no right to install them:" \
        "${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    retry quietly "$log" apt-get -q update
    if dpkg --compare-versions "$(candidate libvirt-dev)" lt \
        "$libvirt_minimum"; then
        enable_backports
    fi
    preferences=$cache/apt-preferences
    write_preferences "$preferences"
    mapfile -t absent < <(missing_packages "${service_packages[@]}")
    forbid_service_start
    mkdir -p "$cache/archives/partial"
    retry quietly "$log" apt-get -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        -o Dir::Etc::Preferences="$preferences" \
        -o Dir::Cache::Archives="$cache/archives" install "${missing[@]}"
    [[ ${#absent[@]} -eq 0 ]] || disable_units "${absent[@]}"
    say "Debian packages installed in $((SECONDS - started)) s"
}

# The first Python of 3.11 or later, the default one first. Its base
# executable: an environment made from an environment dies with it.
find_python() {
    local name
    for name in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        "$name" - <<'EOF' 2>/dev/null && return
import os
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
print(os.path.realpath(getattr(sys, '_base_executable', sys.executable)))
EOF
    done
    refuse "no Python 3.11 or later found"
}

# Refuse what the machine cannot do: the standard library alone decides.
# What it prints on standard output is the help that was asked for. The first
# argument names the folder of tests whose command it is.
preflight() {
    local folder=$1 interpreter help
    shift
    interpreter=$(find_python)
    help=$(PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 \
        "$interpreter" -P -m "tests.$folder.preflight" "$@") || exit
    [[ -z $help ]] || {
        printf '%s\n' "$help"
        exit 0
    }
}

# Debian splits what an environment and an extension module need from its
# Python; others have it all in one place.
python_packages() {
    local headers
    "$python" -c 'import ensurepip' 2>/dev/null \
        || printf '%s\n' python3-venv
    headers=$("$python" -c \
        'import sysconfig; print(sysconfig.get_path("include"))')
    [[ -e $headers/Python.h ]] || printf '%s\n' python3-dev
}

# The headers are what counts, wherever they come from.
header_packages() {
    local tool
    for tool in gcc pkg-config; do
        command -v "$tool" >/dev/null || break
        [[ $tool == pkg-config ]] && pkg-config --exists libvirt && return
    done
    printf '%s\n' "${build_packages[@]}"
}

venv_path() {
    {
        "$python" -VV
        printf '%s\n' "$python" "$root" "$(pkg-config --modversion libvirt)"
        cat "$root"/{constraints,requirements,test-requirements}.txt \
            "$root/doc/requirements.txt"
    } | sha256sum | cut -c 1-16 | sed "s|^|$cache/venv-|"
}

# Resolving and unpacking 230 packages takes uv a sixth of pip's time
# (measured; see doc/source/contributor/index.rst).
find_uv() {
    local version directory
    version=$(sed -n 's/^uv==\([^ ;]*\).*/\1/p' "$root/constraints.txt")
    directory=$cache/uv-$version
    if ! "$directory/bin/uv" --version >/dev/null 2>&1; then
        rm -rf "$directory"
        quietly "$log" "$python" -m venv "$directory"
        quietly "$log" "$directory/bin/pip" -q \
            --disable-pip-version-check --cache-dir "$cache/pip" \
            install "uv==$version"
    fi
    printf '%s\n' "$directory/bin/uv"
}

# What pip has from its environment, else from its configuration.
pip_setting() {
    "${uv%uv}pip" config list 2>/dev/null \
        | sed -nE "s/^(:env:|global|install)[.]$1='(.*)'\$/\2/p" | head -n 1
}

# What pip was told of its index and its certificates holds for uv too.
inherit_pip_settings() {
    local uv=$1 index certificates
    index=$(pip_setting index-url)
    certificates=$(pip_setting cert)
    [[ -z $index ]] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
    [[ -z $certificates ]] \
        || export SSL_CERT_FILE=${SSL_CERT_FILE:-$certificates}
    # The system's own authorities otherwise, where it has any.
    [[ ! -e /etc/ssl/certs/ca-certificates.crt ]] \
        || export UV_SYSTEM_CERTS=true
}

# Make one with what "uv pip install" is given besides.
make_venv() {
    local venv=$1 uv started=$SECONDS
    shift
    say "making the virtual environment $venv"
    uv=$(find_uv)
    inherit_pip_settings "$uv"
    # A libvirt-python built against other headers must not be reused.
    UV_CACHE_DIR=$cache/wheels-libvirt-$(pkg-config --modversion libvirt)
    export UV_CACHE_DIR UV_PYTHON_DOWNLOADS=never
    quietly "$log" "$uv" venv --clear --python "$python" "$venv"
    quietly "$log" "$uv" pip install --python "$venv/bin/python" "$@"
    touch "$venv/complete"
    # Of requirements long past, or of a clone that is gone.
    find "$cache" -maxdepth 1 -name 'venv-*' -mtime +30 -exec rm -rf {} +
    say "virtual environment made in $((SECONDS - started)) s"
}

# What runs beside the tests in an environment of its own: its requirements are
# in the folder of the tests that it is for. Nothing of it needs a compiler, or
# the headers of libvirt.
apart_path() {
    local name=$1
    {
        "$python" -VV
        printf '%s\n' "$python"
        # Our plugin is installed into it, from this tree.
        [[ $name != tempest ]] || printf '%s\n' "$root"
        cat "$root/tests/$name"/{constraints,requirements}.txt
    } | sha256sum | cut -c 1-16 | sed "s|^|$cache/$name-|"
}

make_apart() {
    local name=$1 venv=$2 uv started=$SECONDS
    say "making the environment of $name $venv"
    uv=$(find_uv)
    inherit_pip_settings "$uv"
    export UV_CACHE_DIR=$cache/wheels-$name UV_PYTHON_DOWNLOADS=never
    quietly "$log" "$uv" venv --clear --python "$python" "$venv"
    quietly "$log" "$uv" pip install --python "$venv/bin/python" \
        --constraints "$root/tests/$name/constraints.txt" \
        --requirements "$root/tests/$name/requirements.txt"
    touch "$venv/complete"
    find "$cache" -maxdepth 1 -name "$name-*" -mtime +30 -exec rm -rf {} +
    say "environment of $name made in $((SECONDS - started)) s"
}

# Git refuses a clone of another user, as in a container, otherwise.
trust_clone() {
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory \
        GIT_CONFIG_VALUE_0=$root
}

# A project of this tree, editable: again whenever its metadata has changed.
install_project() {
    local venv=$1 project=${2:-$root} stamp
    stamp=$(cat "$project"/{setup.cfg,setup.py,pyproject.toml} \
        | sha256sum | cut -c 1-16)
    [[ $(cat "$venv/project" 2>/dev/null) == "$stamp" ]] && return
    trust_clone
    quietly "$log" "$(find_uv)" pip install --python "$venv/bin/python" \
        --no-deps --no-build-isolation --editable "$project"
    printf '%s\n' "$stamp" >"$venv/project"
}

# The environment and what is downloaded for it: 0.7 GiB, and room to move.
refuse_full_disk() {
    local needed_mib=2048 there=$cache free_mib
    while [[ ! -d $there ]]; do
        there=$(dirname "$there")
    done
    free_mib=$(df -P --block-size=1M "$there" | awk 'NR == 2 {print $4}')
    [[ $free_mib -ge $needed_mib ]] || refuse \
        "too little disk: $needed_mib MiB are needed in $cache," \
        "$free_mib MiB are free"
}

install_main() {
    local what=${1:-} packages venv
    [[ $# -eq 1 && $what =~ ^(venv|lab|gate|tempest)$ ]] \
        || refuse "usage: tools/install.sh venv|lab|gate|tempest"
    command -v apt-get >/dev/null || refuse \
        "no apt-get here: the packages to install are named in bindep.txt"
    [[ $what != lab || $EUID -eq 0 ]] \
        || refuse "the lab's packages need root: sudo tools/install.sh lab"
    python=$(find_python)
    compgen -G "$cache/venv-*/complete" >/dev/null || refuse_full_disk
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock --nonblock 9 || {
        say "waiting for another installation to end"
        flock 9
    }
    log=$cache/install.log
    mapfile -t packages < <(python_packages; header_packages)
    [[ $what != lab ]] || packages+=("${lab_packages[@]}")
    [[ ${#packages[@]} -eq 0 ]] || install_packages "${packages[@]}"
    if [[ $what == gate || $what == tempest ]]; then
        venv=$(apart_path "$what")
        [[ -e $venv/complete ]] || make_apart "$what" "$venv"
        [[ $what == gate ]] || install_project "$venv" "$root/tempest_plugin"
    else
        venv=$(venv_path)
        [[ -e $venv/complete ]] || make_venv "$venv" \
            --constraints "$root/constraints.txt" \
            --requirements "$root/requirements.txt" \
            --requirements "$root/test-requirements.txt" \
            --requirements "$root/doc/requirements.txt"
        install_project "$venv"
    fi
    touch "$venv"
    printf '%s\n' "$venv"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    install_main "$@"
fi

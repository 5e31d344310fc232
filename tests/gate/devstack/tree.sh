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
# The functions of the real DevStack tree in $ROOT/devstack, for walk.sh. As
# root, with a copy of /etc in the place of /etc: see enter.sh.
#
# What would change the machine beyond that copy and $ROOT, or needs a network,
# is replaced; "replaced" prints what, for tools/devstack.sh to say.

# The tree is not at hand when this file is checked.
# shellcheck disable=SC1090,SC1091,SC2329

TOP_DIR=$ROOT/devstack
export FILES=$TOP_DIR/files CONFIG_AWK_CMD=gawk
# For the programs that DevStack's functions call.
PATH=$ROOT/replaced:$PATH

replaced() {
    cat <<'EOF'
sudo                 runs the command: this is root already
systemctl            does nothing: units are written, and not started
git clone            copies the plugin from this repository
Tempest              is not installed, and has one option in tempest.conf
pip, edit-constraints
                     write down what they are called with
stack.sh, unstack.sh, clean.sh
                     call the functions below in the same order, and leave out
                     packages, databases and every service but nova-compute
EOF
}

program() {
    printf '#!/bin/sh\n%s\n' "$2" >"$1"
    chmod 755 "$1"
}

replace_programs() {
    local requirements=$ROOT/stack/requirements
    mkdir -p "$ROOT"/{replaced,stack/data/venv/bin} "$requirements/.venv/bin"
    # shellcheck disable=SC2016  # this is a script
    program "$ROOT/replaced/sudo" 'exec "$@"'
    program "$ROOT/replaced/systemctl" ''
    program "$ROOT/stack/data/venv/bin/pip" "echo \"\$@\" >>'$ROOT/pip'"
    program "$requirements/.venv/bin/edit-constraints" \
        "echo \"\$@\" >>'$ROOT/edit-constraints'"
}

# The phase "source" sources lib/tempest, wherever it was sourced before.
replace_tempest() {
    local library=$TOP_DIR/lib/tempest
    mkdir -p "$DEST/async" "$DEST/tempest/etc"
    grep -q 'iniset .* cinder True' "$library" || cat >>"$library" <<'EOF'
install_tempest() { :; }
install_tempest_plugins() { :; }
configure_tempest() {
    rm -f "$TEMPEST_CONFIG"
    iniset "$TEMPEST_CONFIG" service_available cinder True
}
EOF
}

begin() {
    replace_programs
    source "$TOP_DIR/functions"
    extract_localrc_section "$TOP_DIR/local.conf" "$TOP_DIR/localrc" \
        "$TOP_DIR/.localrc.auto"
    source "$TOP_DIR/stackrc"
    GetDistro
    replace_tempest
    # The clone of a plugin.
    git_clone() { [[ -d $2 ]] || cp -R "$SOURCE" "$2"; }
    source "$TOP_DIR/lib/database"
    source "$TOP_DIR/lib/rpc_backend"
}

# Those of the libraries that Nova's part stands on.
libraries() {
    local library
    for library in apache tls infra lvm keystone nova placement; do
        source "$TOP_DIR/lib/$library"
    done
}

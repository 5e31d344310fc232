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
# Stand-ins for the functions of DevStack that its programs call around a
# plugin and that a plugin calls. They do what DevStack documents of them, as
# far as a plugin of nova-compute can notice, below $ROOT and without root.
# tools/devstack.sh makes the same assertions with DevStack's own functions.

TOP_DIR=$ROOT/devstack
DEST=$ROOT/stack
STACK_USER=$(id -un)
declare -A GITDIR

die() {
    echo "[ERROR] ${*:2}" >&2
    exit 1
}

sudo() { "$@"; }

echo_summary() { echo -e "$@"; }

trueorfalse() {
    local value=${!2:-}
    case ${value,,} in
    1 | yes | true) echo True ;;
    0 | no | false) echo False ;;
    *) echo "$1" ;;
    esac
}

is_service_enabled() {
    local service
    for service in "$@"; do
        [[ ,$ENABLED_SERVICES, != *,$service,* ]] || return 0
    done
    return 1
}

# As in DevStack, a new line goes to the top of its section.
iniset() {
    local file=$1 section=$2 option=$3 value=$4
    grep -q "^\[$section\]" "$file" 2>/dev/null \
        || printf '\n[%s]\n' "$section" >>"$file"
    sed -i -e "/^\[$section\]/,/^\[.*\]/ { /^${option}[ \t]*=/ d; }" \
        -e "/^\[$section\]/ a $option = $value" "$file"
}

enable_plugin() {
    DEVSTACK_PLUGINS+=" $1"
    GITDIR[$1]=$DEST/$1
}

# The clone of a plugin.
fetch_plugins() {
    local name
    for name in $DEVSTACK_PLUGINS; do
        [[ -d ${GITDIR[$name]} ]] || cp -R "$SOURCE" "${GITDIR[$name]}"
    done
}

load_plugin_settings() { source_of_plugins settings; }

# Of DevStack's own extras.d, that is Tempest alone. It comes before the plugins.
extras() {
    is_service_enabled tempest || return 0
    case $* in
    source) TEMPEST_CONFIG=$DEST/tempest/etc/tempest.conf ;;
    'stack test-config')
        mkdir -p "$(dirname "$TEMPEST_CONFIG")"
        rm -f "$TEMPEST_CONFIG"
        iniset "$TEMPEST_CONFIG" service_available cinder True
        ;;
    esac
}

run_phase() {
    extras "$@"
    case $1 in
    source) source_of_plugins settings ;;
    override_defaults) source_of_plugins override-defaults ;;
    *) source_of_plugins plugin.sh "$@" ;;
    esac
}

source_of_plugins() {
    local name file=$1
    shift
    for name in $DEVSTACK_PLUGINS; do
        if [[ -f ${GITDIR[$name]}/devstack/$file ]]; then
            # shellcheck source=devstack/plugin.sh
            source "${GITDIR[$name]}/devstack/$file" "$@"
        fi
    done
}

define_plugin() { :; }

# pip install --editable
setup_develop() {
    [[ -f $1/setup.cfg ]] || die $LINENO "no project to install in $1"
    printf '%s\n' "install -e $1" >>"$ROOT/pip"
}

meta_section() {
    awk -v wanted="[[$1|$2]]" '/^\[\[/ {on = $0 == wanted; next} on' \
        "$TOP_DIR/local.conf"
}

merge_config_file() {
    local group=$2 name=$3 file line section=''
    file=$(eval "echo $name")
    while read -r line; do
        case $line in
        \[*) section=${line//[][]/} ;;
        *=*) iniset "$file" "$section" "${line%% =*}" "${line#*= }" ;;
        esac
    done < <(meta_section "$group" "$name")
}

merge_config_group() {
    local group=$2 name
    while read -r name; do
        mkdir -p "$(dirname "$(eval "echo $name")")"
        merge_config_file "$TOP_DIR/local.conf" "$group" "$name"
    done < <(sed -n "s/^\[\[$group|\(.*\)\]\]/\1/p" "$TOP_DIR/local.conf")
}

create_nova_conf() {
    rm -f "$NOVA_CONF"
    iniset "$NOVA_CONF" oslo_messaging_notifications driver messagingv2
}

# As in DevStack, the copy that nova-compute is started with is made anew,
# after the last phase in which a plugin could have written to it.
start_nova_compute() {
    cp "$NOVA_CONF" "$NOVA_CPU_CONF"
    # shellcheck disable=SC2016  # the name as local.conf has it
    merge_config_file "$TOP_DIR/local.conf" post-config '$NOVA_CPU_CONF'
    is_service_enabled n-cpu || return 0
    iniset "$UNIT" Service ExecStart \
        "$DEST/data/venv/bin/nova-compute --config-file $NOVA_CPU_CONF"
}

stop_process() { :; }

begin() {
    # shellcheck source=/dev/null
    source <(meta_section local localrc)
    mkdir -p "$DEST" "$ROOT/etc/systemd/system"
}

# lib/nova
libraries() {
    NOVA_CONF_DIR=$ROOT/etc/nova
    NOVA_CONF=$NOVA_CONF_DIR/nova.conf
    NOVA_CPU_CONF=$NOVA_CONF_DIR/nova-cpu.conf
    UNIT=$ROOT/etc/systemd/system/devstack@n-cpu.service
}

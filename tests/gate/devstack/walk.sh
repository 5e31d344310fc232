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
# Walk through what one of DevStack's programs does around a plugin.
#
#   walk.sh stack|unstack|clean
#
# $TREE is sourced first. It defines what DevStack's own programs source, and
# besides: "begin", what comes before the plugins are fetched, and "libraries",
# what comes between a plugin's override-defaults and its settings. It is
# either stand_ins.sh, where we wrote these functions, or tree.sh, where they
# are those of a real DevStack tree. The order is that of DevStack's master
# branch of July 2026.

# As stack.sh does; unstack.sh and clean.sh would go on after an error.
set -o errexit

# shellcheck source=tests/gate/devstack/stand_ins.sh
source "$TREE"

# A plugin leaves "set -o xtrace" as it was.
phase() {
    local before
    before=$(set +o | grep xtrace)
    run_phase "$@"
    if [[ $(set +o | grep xtrace) != "$before" ]]; then
        set +o xtrace
        echo "the plugin has changed xtrace in the phase '$*': $before" >&2
        exit 1
    fi
}

stack() {
    begin
    fetch_plugins
    phase override_defaults
    libraries
    phase source
    phase stack pre-install
    if is_service_enabled n-cpu n-sch; then
        sudo install -d -o "$STACK_USER" "$NOVA_CONF_DIR"
        create_nova_conf
    fi
    phase stack install
    phase stack post-config
    merge_config_group "$TOP_DIR/local.conf" post-config
    if is_service_enabled n-cpu n-sch; then
        start_nova_compute
    fi
    merge_config_group "$TOP_DIR/local.conf" extra
    phase stack extra
    merge_config_group "$TOP_DIR/local.conf" post-extra
    phase stack test-config
    merge_config_group "$TOP_DIR/local.conf" test-config
}

unstack() {
    begin
    phase override_defaults
    libraries
    load_plugin_settings
    set -o xtrace
    phase unstack
    stop_process n-cpu
}

# clean.sh runs unstack.sh first; here it has to do without.
clean() {
    begin
    libraries
    set -o xtrace
    load_plugin_settings
    phase clean
}

"$1"

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
# Install nova-freemem beside nova-compute and enable it there. DevStack
# sources this file once for each of its phases. Hosts without nova-compute
# are left as they are.

# nova-compute alone reads this folder, and besides the file DevStack
# starts it with: that one, nova-cpu.conf, is made anew from nova.conf after
# the last phase a plugin could write to it.
FREEMEM_DROP_IN=$NOVA_CONF_DIR/nova-compute.conf.d/freemem.conf

function install_nova_freemem {
    setup_develop "$DEST/nova-freemem"
}

function configure_nova_freemem {
    mkdir -p "$(dirname "$FREEMEM_DROP_IN")"
    iniset "$FREEMEM_DROP_IN" oslo_messaging_notifications driver freemem
    iniset "$FREEMEM_DROP_IN" freemem enabled true
}

function cleanup_nova_freemem {
    rm -f "$FREEMEM_DROP_IN"
}

if is_service_enabled n-cpu; then
    if [[ "$1" == "stack" && "$2" == "install" ]]; then
        install_nova_freemem
    elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
        configure_nova_freemem
    elif [[ "$1" == "clean" ]]; then
        cleanup_nova_freemem
    fi
fi

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
# Install nova-freemem beside nova-compute and have nova-compute load it.
# DevStack sources this file once for each of its phases, on the controller
# and on each subnode. Where there is no nova-compute, or one with another
# driver than libvirt's, nothing is installed and nothing is written.

# DevStack clones a plugin into the folder of the name that local.conf gives
# it.
NOVA_FREEMEM_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

function is_nova_freemem_wanted {
    is_service_enabled n-cpu && [[ "$VIRT_DRIVER" == "libvirt" ]]
}

function install_nova_freemem {
    echo_summary "Installing nova-freemem"
    setup_develop "$NOVA_FREEMEM_DIR"
}

# What an earlier run wrote goes first: DevStack's iniset removes nothing.
function configure_nova_freemem {
    echo_summary "Configuring nova-freemem: $NOVA_FREEMEM_CONF"
    cleanup_nova_freemem
    sudo install -d -o "$STACK_USER" "$(dirname "$NOVA_FREEMEM_CONF")"
    iniset "$NOVA_FREEMEM_CONF" oslo_messaging_notifications driver freemem
    iniset "$NOVA_FREEMEM_CONF" freemem enabled "$NOVA_FREEMEM_ENABLED"
}

# unstack.sh leaves /etc/nova as it is. A folder with files of others stays.
function cleanup_nova_freemem {
    local folder
    folder=$(dirname "$NOVA_FREEMEM_CONF")
    if [[ -d "$folder" ]]; then
        sudo rm -f "$NOVA_FREEMEM_CONF"
        sudo rmdir --ignore-fail-on-non-empty "$folder"
    fi
}

# For the tests of nova-freemem's plugin of Tempest. Tempest knows the option
# where that plugin is installed (see README.rst), and ignores it elsewhere.
function configure_nova_freemem_tempest {
    iniset "$TEMPEST_CONFIG" service_available nova_freemem \
        "$NOVA_FREEMEM_ENABLED"
}

if [[ "$1" == "stack" && "$2" == "install" ]]; then
    if is_nova_freemem_wanted; then
        install_nova_freemem
    else
        echo_summary "No nova-compute with the libvirt driver here:" \
            "nova-freemem is not installed"
    fi
elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
    if is_nova_freemem_wanted; then
        configure_nova_freemem
    fi
elif [[ "$1" == "stack" && "$2" == "test-config" ]]; then
    # Tempest may run on a host without nova-compute.
    if is_service_enabled tempest && [[ "$VIRT_DRIVER" == "libvirt" ]]; then
        configure_nova_freemem_tempest
    fi
elif [[ "$1" == "unstack" || "$1" == "clean" ]]; then
    # Whatever local.conf says by now about services and drivers.
    cleanup_nova_freemem
fi

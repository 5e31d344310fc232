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

"""What tempest knows of the lab: images, flavors and ``tempest.conf``."""

from collections.abc import Mapping
import pathlib
import sys

from openstack import connection

from tests.lab import guest_image
from tests.lab import images
from tests.lab import layout
from tests.lab.services import settings

_FLAVOR_MIB = 512
_OURS_MIB = 768
_PAGE_CACHE_MIB = 400
_WRITTEN_MIB = 128
_TOP = pathlib.Path(__file__).parents[2]


def folder() -> pathlib.Path:
    """Where tempest works."""
    return layout.LAB.state / 'tempest'


def log() -> pathlib.Path:
    """Where tempest logs its requests, and writes its errors."""
    return layout.LAB.log / 'tempest.log'


def environment() -> dict[str, str]:
    """Return how tempest finds its configuration."""
    return {
        'TEMPEST_CONFIG_DIR': str(folder()),
        'TEMPEST_CONFIG': 'tempest.conf',
    }


def write(api: connection.Connection) -> None:
    """Make what tempest needs in the cloud, and write ``tempest.conf``.

    :param api: the administrator's.
    """
    state = settings.Settings(layout.LAB)
    folder().mkdir(exist_ok=True)
    file = folder() / 'tempest.conf'
    file.touch(mode=0o600)
    file.write_text(settings.ini(_content(api, state)))


def _content(
    api: connection.Connection, state: settings.Settings
) -> settings.Ini:
    image = _publish(api)
    flavor, other = (_flavor(api, name) for name in ('tempest', 'tempest-alt'))
    return {
        'DEFAULT': {'log_file': log(), 'debug': True},
        'oslo_concurrency': {'lock_path': folder() / 'lock'},
        'auth': {
            'admin_username': state.account['username'],
            'admin_password': state.password,
            'admin_project_name': state.account['project_name'],
            'admin_domain_name': state.account['project_domain_name'],
            # Neutron has no mechanism driver: there are no networks.
            'create_isolated_networks': False,
        },
        'identity': {
            'uri_v3': f'{state.url("keystone")}/v3',
            'region': settings.REGION,
        },
        'compute': {
            'image_ref': image,
            'image_ref_alt': image,
            'flavor_ref': flavor,
            'flavor_ref_alt': other,
            'min_compute_nodes': len(layout.HOSTS),
            'max_microversion': 'latest',
        },
        'compute-feature-enabled': {
            'block_migration_for_live_migration': True,
            'live_migrate_back_and_forth': True,
            'nova_policy_roles': 'admin,manager,member,reader',
            'vnc_console': False,
        },
        # Trunks among them.
        'network-feature-enabled': {'api_extensions': ''},
        # As Nova is by default.
        'enforce_scope': {'nova': True},
        'service_available': {
            'cinder': False,
            'swift': False,
            'horizon': False,
            'nova_freemem': True,
        },
        # Guests without a network cannot be reached by SSH.
        'validation': {'run_validation': False},
        'nova_freemem': _our_options(api),
    }


def _our_options(api: connection.Connection) -> Mapping[str, object]:
    uris = (
        f'{host.hostname}:{host.libvirt_uri}' for host in layout.HOSTS.values()
    )
    restart = (
        f'env PYTHONPATH={_TOP} {sys.executable} -P -m tests.tempest.restart'
    )
    return {
        'guest_access': 'agent',
        'guest_disk_folder': '/data',
        'guest_memory_folder': '/run',
        'guest_memory_mib': _OURS_MIB,
        'page_cache_mib': _PAGE_CACHE_MIB,
        'written_mib': _WRITTEN_MIB,
        'image_without_agent': _image_without_agent(api),
        'libvirt_uris': ','.join(uris),
        'restart_command': f'{restart} {{host}}',
    }


def _publish(api: connection.Connection) -> str:
    """Show the images of the lab's guest to every project.

    :returns: the id of the one to boot.
    """
    image = images.upload(api)
    for part in (image.id, image.kernel_id, image.ramdisk_id):
        api.image.update_image(part, visibility='public')
    return str(image.id)


def _image_without_agent(api: connection.Connection) -> str:
    """Make an image whose domains have no channel for a guest agent.

    A lab that an earlier run has left has it already.

    :returns: its id.
    """
    image = images.upload(api)
    name = f'{image.name}-no-agent'
    made = api.image.find_image(name) or api.image.create_image(
        name,
        filename=str(guest_image.get().disk),
        disk_format='qcow2',
        container_format='bare',
        validate_checksum=False,
        visibility='public',
        kernel_id=image.kernel_id,
        ramdisk_id=image.ramdisk_id,
        os_command_line=guest_image.COMMAND_LINE,
        hw_machine_type='pc',
    )
    return str(made.id)


def _flavor(api: connection.Connection, name: str) -> str:
    """Make a flavor with a disk, unless it is there.

    A block migration has to copy one.

    :returns: its id.
    """
    made = api.compute.find_flavor(name) or api.compute.create_flavor(
        name=name, ram=_FLAVOR_MIB, vcpus=1, disk=guest_image.DISK_GIB
    )
    return str(made.id)

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

"""The guest as Nova boots it: its images in glance, its flavors."""

from collections.abc import Mapping
import pathlib
from types import MappingProxyType

from openstack import connection
from openstack.compute.v2 import flavor as sdk_flavor
from openstack.image.v2 import image as sdk_image

from tests.lab import debian
from tests.lab import guest_image
from tests.lab import steps

#: Virtual CPUs of every guest.
VCPUS = 2


_NOTHING: Mapping[str, str] = MappingProxyType({})


def upload(
    cloud: connection.Connection,
    system: debian.Debian | None = None,
    properties: Mapping[str, str] = _NOTHING,
) -> sdk_image.Image:
    """Upload a guest's kernel, initramfs and disk, unless they are there.

    :param system: what the guest runs; None for the small guest.
    :param properties: of the image of the disk, besides its own.
    :returns: the image of the disk, which names the other two.
    """
    files = system.get() if system else guest_image.get()
    name = _name(files.folder.name, properties)
    known = cloud.image.find_image(name)
    if known:
        return known
    with steps.step('upload the guest to glance'):
        kernel = _create(cloud, f'{name}-kernel', files.kernel, 'aki')
        initramfs = _create(cloud, f'{name}-initramfs', files.initramfs, 'ari')
        return _create(
            cloud,
            name,
            files.disk,
            'qcow2',
            kernel_id=kernel.id,
            ramdisk_id=initramfs.id,
            os_command_line=files.command_line,
            hw_qemu_guest_agent='yes',
            hw_machine_type='pc',
            **properties,
        )


def _name(name: str, properties: Mapping[str, str]) -> str:
    return ' '.join(
        [name, *(f'{key}={properties[key]}' for key in properties)]
    )


def _create(
    cloud: connection.Connection,
    name: str,
    file: pathlib.Path,
    disk_format: str,
    **properties: str,
) -> sdk_image.Image:
    container = 'bare' if disk_format == 'qcow2' else disk_format
    image: sdk_image.Image = cloud.image.create_image(
        name,
        filename=str(file),
        disk_format=disk_format,
        container_format=container,
        validate_checksum=False,
        properties=properties,
    )
    return image


def flavor(
    cloud: connection.Connection,
    memory_mib: int,
    extra_specs: Mapping[str, str] = _NOTHING,
) -> sdk_flavor.Flavor:
    """Find the flavor for a size of memory, or make it.

    :param memory_mib: the guest's memory.
    :param extra_specs: what it says besides.
    """
    name = _name(f'freemem-{memory_mib}', extra_specs)
    known = cloud.compute.find_flavor(name)
    if known:
        return known
    made: sdk_flavor.Flavor = cloud.compute.create_flavor(
        name=name, ram=memory_mib, vcpus=VCPUS, disk=0
    )
    if extra_specs:
        cloud.compute.create_flavor_extra_specs(made, dict(extra_specs))
    return made

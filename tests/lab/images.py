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

import pathlib

from openstack import connection
from openstack.compute.v2 import flavor as sdk_flavor
from openstack.image.v2 import image as sdk_image

from tests.lab import debian
from tests.lab import guest_image
from tests.lab import steps

#: Virtual CPUs of every guest.
VCPUS = 2


def upload(
    cloud: connection.Connection, system: debian.Debian | None = None
) -> sdk_image.Image:
    """Upload a guest's kernel, initramfs and disk, unless they are there.

    :param system: what the guest runs; None for the small guest.
    :returns: the image of the disk, which names the other two.
    """
    files = system.get() if system else guest_image.get()
    name = files.folder.name
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


def flavor(cloud: connection.Connection, memory_mib: int) -> sdk_flavor.Flavor:
    """Find the flavor for a size of memory, or make it.

    :param memory_mib: the guest's memory.
    """
    name = f'freemem-{memory_mib}'
    known = cloud.compute.find_flavor(name)
    if known:
        return known
    made: sdk_flavor.Flavor = cloud.compute.create_flavor(
        name=name, ram=memory_mib, vcpus=VCPUS, disk=0
    )
    return made

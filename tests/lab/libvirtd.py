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

"""A host's libvirtd: its own folders, its configuration, its process."""

from collections.abc import Mapping
import pathlib

import libvirt

from tests.lab import certificates
from tests.lab import layout
from tests.lab import processes

# Where libvirtd keeps what must not be shared between two of them.
_PRIVATE_FOLDERS = (
    '/run',
    '/etc/libvirt',
    '/var/lib/libvirt',
    '/var/log/libvirt',
    '/var/cache/libvirt',
)

# No authentication: the host's addresses are on the lab's bridges alone,
# and its socket is in the host's own /run.
_LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
tcp_port = "{port}"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_filters = "3:json 4:event 4:util.object"
log_outputs = "3:stderr"
"""

# The disks are on one file system for both hosts, which libvirt calls unsafe
# to migrate with unless it is named; for the same reason a disk's owner is
# neither changed nor remembered. The rest avoids what the hosts would share:
# control groups, devices, virtlogd.
_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
shared_filesystems = ["{instances}"]
migrate_tls_x509_cert_dir = "{certificates}"
"""


def prepare(host: layout.HostLayout) -> Mapping[str, pathlib.Path]:
    """Write a host's private folders and libvirt's configuration.

    :returns: the folders, by the places where the host wants them.
    """
    mounts = {
        place: host.folder / place.strip('/').replace('/', '-')
        for place in _PRIVATE_FOLDERS
    }
    own_instances = mounts['/var/lib/libvirt'] / 'instances'
    for folder in (*mounts.values(), own_instances, layout.LAB.instances):
        folder.mkdir(parents=True, exist_ok=True)
    settings = mounts['/etc/libvirt']
    (settings / 'libvirtd.conf').write_text(
        _LIBVIRTD_CONF.format(uuid=host.uuid, port=host.libvirt_port)
    )
    (settings / 'qemu.conf').write_text(
        _QEMU_CONF.format(
            instances=layout.LAB.instances,
            certificates=certificates.FOLDER,
        )
    )
    certificates.folder(host).mkdir(exist_ok=True)
    return mounts


def daemon(host: layout.HostLayout, prefix: list[str]) -> processes.Daemon:
    """Describe a host's libvirtd.

    :param prefix: the command that enters the host.
    """
    return processes.Daemon(
        name=f'{host.name}-libvirtd',
        argv=['/usr/sbin/libvirtd', '--listen'],
        log=layout.LAB.log / f'{host.name}-libvirtd.log',
        prefix=prefix,
        ready=lambda: _answers(host),
        ready_seconds=60,
    )


def connect(host: layout.HostLayout) -> libvirt.virConnect:
    """Connect to a host's libvirtd, over the management network.

    :raises libvirtError: it does not answer.
    """
    # By default the library prints each error as well as raising it.
    libvirt.registerErrorHandler(lambda *_: None, None)
    return libvirt.open(host.libvirt_uri)


def _answers(host: layout.HostLayout) -> bool:
    """Whether it returns its capabilities, which need QEMU as well."""
    try:
        connection = connect(host)
    except libvirt.libvirtError:
        return False
    try:
        return bool(connection.getCapabilities())
    finally:
        connection.close()

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

"""The paths, addresses, ports and names of the lab.

Only the standard library is used here, because :mod:`tests.lab.preflight`
reads this module before anything has been installed.
"""

from collections.abc import Mapping
import dataclasses
import os
import pathlib
import types

#: What the control plane listens on, at ``LAB.control_address``. Each is
#: the well-known port plus 10000 (RabbitMQ's, whose sum is its own
#: management port: 15670), so that a service of the machine itself that
#: binds every address stays out of the way.
PORTS: Mapping[str, int] = types.MappingProxyType(
    {
        'mariadb': 13306,
        'epmd': 14369,
        'rabbitmq': 15670,
        'rabbitmq-distribution': 15673,
        'keystone': 15000,
        'placement': 18778,
        'glance': 19292,
        'neutron': 19696,
        'nova-api': 18774,
    }
)


@dataclasses.dataclass(frozen=True)
class HostLayout:
    """One compute host: its names, its addresses and its private folders.

    ``name`` is also the name of its network namespace; ``hostname`` is what
    libvirt and Nova call it.
    """

    name: str
    hostname: str
    uuid: str
    control_address: str
    link_address: str
    folder: pathlib.Path

    #: In the host's own network namespace, hence the same on every host.
    libvirt_port = 16509

    @property
    def libvirt_uri(self) -> str:
        """What connects to the host's libvirtd from the root namespace."""
        address = f'{self.control_address}:{self.libvirt_port}'
        return f'qemu+tcp://{address}/system'

    @property
    def migration_uri(self) -> str:
        """What the other host's libvirtd connects to, over the link."""
        return f'qemu+tcp://{self.link_address}:{self.libvirt_port}/system'


@dataclasses.dataclass(frozen=True)
class Lab:
    """What the hosts and the control plane share.

    ``state`` goes away with the lab, ``cache`` stays.
    """

    state: pathlib.Path
    cache: pathlib.Path

    control_bridge = 'fmlab-ctl'
    control_address = '198.18.76.1'
    link_bridge = 'fmlab-link'
    prefix_length = 24
    ports = PORTS

    @property
    def log(self) -> pathlib.Path:
        """The folder of every log file, ``<name>.log``."""
        return self.state / 'log'

    @property
    def run(self) -> pathlib.Path:
        """The folder of every pid file, ``<name>.pid``."""
        return self.state / 'run'

    @property
    def instances(self) -> pathlib.Path:
        """The folder of the guests' disks, which both hosts share."""
        return self.state / 'instances'


def _cache(environ: Mapping[str, str], is_root: bool) -> pathlib.Path:
    if chosen := environ.get('NOVA_FREEMEM_CACHE'):
        return pathlib.Path(chosen)
    if is_root:
        return pathlib.Path('/var/cache/nova-freemem')
    home_cache = environ.get('XDG_CACHE_HOME') or os.path.join(
        environ.get('HOME', '/'), '.cache'
    )
    return pathlib.Path(home_cache) / 'nova-freemem'


def lab_from(environ: Mapping[str, str], is_root: bool) -> Lab:
    """Place the lab where the environment says.

    :param environ: ``NOVA_FREEMEM_LAB`` and ``NOVA_FREEMEM_CACHE`` are read.
    :param is_root: whose default cache folder it is.
    :returns: the lab's layout.
    """
    state = environ.get('NOVA_FREEMEM_LAB') or '/var/lib/nova-freemem-lab'
    return Lab(pathlib.Path(state), _cache(environ, is_root))


def hosts_of(lab: Lab) -> Mapping[str, HostLayout]:
    """Name the hosts of a lab.

    :param lab: whose state folder holds the hosts' folders.
    :returns: the layout of each host by its name.
    """
    # 198.18.0.0/15 is set aside for benchmarks between networks (RFC 2544).
    return types.MappingProxyType(
        {
            f'host{number}': HostLayout(
                name=f'host{number}',
                hostname=f'freemem-host{number}',
                uuid=f'5f1e0000-0000-4000-8000-00000000000{number}',
                control_address=f'198.18.76.1{number}',
                link_address=f'198.18.77.1{number}',
                folder=lab.state / f'host{number}',
            )
            for number in (1, 2)
        }
    )


LAB = lab_from(os.environ, os.geteuid() == 0)
HOSTS = hosts_of(LAB)

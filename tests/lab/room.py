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

"""Both hosts and the networks between them."""

import shutil

from tests.lab import accelerator
from tests.lab import arguments
from tests.lab import guest_image
from tests.lab import host as lab_host
from tests.lab import layout
from tests.lab import lock
from tests.lab import network
from tests.lab import steps

#: The speed of the migration link unless another is asked for.
LINK_MBIT = arguments.LINK_MBIT


def hosts() -> list[lab_host.Host]:
    """Name the hosts.

    :returns: both, up or down.
    """
    return [lab_host.Host(name) for name in layout.HOSTS]


def other(host: lab_host.Host) -> lab_host.Host:
    """Name the host that a guest on this one can go to."""
    return next(one for one in hosts() if one.name != host.name)


def up(
    migration_bandwidth_mbps: int | None = LINK_MBIT,
) -> list[lab_host.Host]:
    """Bring both hosts up, with the link limited, unless they are up.

    :param migration_bandwidth_mbps: 10^6 bits a second each way; None for no
        limit.
    :returns: the hosts.
    :raises Refused: another process has the lab.
    """
    lock.take()
    guest_image.get()
    accelerator.virt_type()
    both = hosts()
    steps.in_parallel(*(host.up for host in both))
    network.set_link(migration_bandwidth_mbps)
    return both


def down() -> None:
    """End both hosts, and remove the networks and the hosts' folders.

    :raises Refused: another process has the lab.
    """
    lock.take()
    both = hosts()
    steps.in_parallel(*(host.down for host in both))
    network.remove_bridges()
    for host in both:
        shutil.rmtree(host.layout.folder, ignore_errors=True)
    shutil.rmtree(layout.LAB.instances, ignore_errors=True)

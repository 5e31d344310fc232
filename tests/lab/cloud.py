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

"""A whole small cloud on one machine: Nova on two hosts."""

from collections.abc import Mapping
import functools
import shutil
import time
from typing import NamedTuple

import psutil

from tests.lab import compute
from tests.lab import control_plane
from tests.lab import images
from tests.lab import layout
from tests.lab import lock
from tests.lab import network
from tests.lab import processes
from tests.lab import room
from tests.lab import servers
from tests.lab import steps
from tests.lab.services import catalogue

# All that may be in the lab's state folder.
_CONTENT = {
    *('run', 'log', 'instances', 'password', 'openrc', 'lock'),
    *('mariadb', 'rabbitmq', 'tempest'),
    *('keystone', 'placement', 'glance', 'neutron', 'nova'),
    *layout.HOSTS,
}


class Process(NamedTuple):
    """A process of the lab that lives."""

    name: str
    pid: int
    port: int | None
    seconds: float


class Cloud(servers.Servers):
    """The lab's cloud, whether it is up or not."""

    def up(
        self,
        plugin: bool | Mapping[str, bool] = True,
        migration_bandwidth_mbps: int | None = room.LINK_MBIT,
        own_disks: bool = False,
    ) -> None:
        """Bring up what is not up.

        :param plugin: whether the computes load the plugin, all of them or
            each by its host's name.
        :param migration_bandwidth_mbps: of the migration link, 10^6 bits a
            second each way; None for no limit.
        :param own_disks: whether each host has a folder of its own for the
            disks of its guests, which migrate with them; else they share one.
        :raises LabError: something did not come up.
        :raises Refused: another process has the lab.
        """
        _refuse_foreign_folder()
        lock.take()
        network.make_bridges()
        steps.in_parallel(
            functools.partial(control_plane.bring_up, self._state),
            functools.partial(room.up, migration_bandwidth_mbps),
        )
        for one in self.computes:
            one.set_own_disks(own_disks)
        steps.in_parallel(
            functools.partial(images.upload, self.api),
            functools.partial(self.plugin, plugin),
        )

    def down(self, keep_databases: bool = False) -> None:
        """End what up() started, and remove what it made.

        :param keep_databases: leave the databases and the images for the
            next up(); the guests end in any case.
        :raises Refused: another process has the lab.
        """
        _refuse_foreign_folder()
        lock.take()
        steps.in_parallel(*(one.stop for one in self.computes))
        room.down()
        control_plane.take_down()
        if not keep_databases:
            shutil.rmtree(layout.LAB.state, ignore_errors=True)

    def plugin(self, enabled: bool | Mapping[str, bool]) -> None:
        """Enable or disable the plugin; restart the computes if it changed.

        :param enabled: for all hosts, or for each by its name.
        """
        wanted = (
            dict.fromkeys(layout.HOSTS, enabled)
            if isinstance(enabled, bool)
            else enabled
        )

        def apply(one: compute.Compute) -> None:
            one.set_plugin(wanted.get(one.host.name, one.plugin))
            one.start(self.api)

        steps.in_parallel(
            *(functools.partial(apply, one) for one in self.computes)
        )

    @property
    def plugins(self) -> Mapping[str, bool]:
        """Whether the plugin is enabled, by host."""
        return {one.host.name: one.plugin for one in self.computes}

    def compute_cpu_seconds(self) -> float:
        """Return how much processor time both nova-computes have used."""
        times = [
            psutil.Process(pid).cpu_times()
            for pid in (
                processes.living_pid(
                    layout.LAB.run / f'{one.host.name}-nova-compute.pid'
                )
                for one in self.computes
            )
            if pid
        ]
        return float(sum(one.user + one.system for one in times))

    @property
    def is_up(self) -> bool:
        """Whether Nova's API is up."""
        return all(
            processes.living_pid(layout.LAB.run / f'{name}.pid')
            for name in ('keystone', 'nova-api')
        )

    @property
    def openrc(self) -> str:
        """The file to source before using the openstack command."""
        return str(catalogue.openrc(self._state))

    @property
    def transport_url(self) -> str:
        """Where services find the message bus."""
        return self._state.transport_url

    def status(self) -> list[Process]:
        """List the processes that live."""
        found = []
        for file in sorted(layout.LAB.run.glob('*.pid')):
            pid = processes.living_pid(file)
            if pid:
                age = time.time() - psutil.Process(pid).create_time()
                port = layout.PORTS.get(file.stem)
                found.append(Process(file.stem, pid, port, age))
        return found

    @functools.cached_property
    def computes(self) -> list[compute.Compute]:
        """The nova-compute of each host."""
        return [compute.Compute(host, self._state) for host in room.hosts()]


def _refuse_foreign_folder() -> None:
    """Refuse a folder that is not the lab's: down() removes all of it.

    :raises Refused: it has something in it that the lab did not make.
    """
    state = layout.LAB.state
    there = {one.name for one in state.iterdir()} if state.exists() else set()
    for name in sorted(there - _CONTENT):
        raise steps.Refused(
            f'{state} is not a folder of the lab: it has {name} in it'
        )

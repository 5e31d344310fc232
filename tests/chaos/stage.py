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


"""The cloud, its guests and where they are: what faults are injected into."""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import os
import pathlib

import libvirt
from openstack import exceptions as sdk_exceptions

from tests.chaos import arguments
from tests.lab import cloud as lab_cloud
from tests.lab import compute
from tests.lab import guest as lab_guest
from tests.lab import host as lab_host
from tests.lab import network
from tests.lab import observer
from tests.lab import processes
from tests.lab import room
from tests.lab import servers
from tests.lab import steps
from tests.lab.observation import State

SERVER = 'freemem-chaos'
HELD_MIB, REWRITTEN_PAGES_PER_SECOND = 32, 100

#: The others, where a cell has several guests: how many begin on the host of
#: the first, how many on the other host, and their memory.
LEAVING, COMING = 2, 1
OTHER_MEMORY_MIB = 384
_OTHER = 'freemem-chaos-other'

_GUEST_SECONDS = 90
# Programs that nova-compute calls, in the place of this machine's.
_PROGRAMS = pathlib.Path(__file__).parent / 'faults' / 'bin'
_REACH_SECONDS = 10
_OUT_OF_REACH = (
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_NO_DOMAIN,
    libvirt.VIR_ERR_OPERATION_INVALID,  # It does not run here any more.
)

#: How often the computes look at all of their guests.
RECONCILE_SECONDS = 10
# Release before the transfer: in the other modes some of the phases are one.
# Nova lets one guest at a time leave a host, unless told otherwise, and a
# migration takes processors of both hosts. At SIGTERM Nova 34 waits for what
# is under way until 20 s before the end of this time: here for nothing, as
# those before it do.
_SETTINGS = f"""\
[DEFAULT]
max_concurrent_live_migrations = {1 + LEAVING}
cpu_allocation_ratio = 16
manager_shutdown_timeout = 20
[freemem]
mode = before
reconcile_interval_seconds = {RECONCILE_SECONDS}
"""
#: The file that disables the plugin: read after the one that enables it.
SWITCHED_OFF = 'switched-off'
_POST_COPY = """\
[libvirt]
live_migration_permit_post_copy = true
"""


@dataclasses.dataclass
class Other:
    """Another guest, and where it is before its migration.

    :ivar is_stopped: whether its QEMU has been stopped by the fault.
    """

    server: servers.Server
    source: lab_host.Host
    destination: lab_host.Host
    is_stopped: bool = False


class Stage:
    """The cloud with one guest, and others where a cell has several.

    :ivar server: the guest's server.
    :ivar source: the host the guest is on before its migration.
    :ivar destination: the other one.
    :ivar others: the other guests.
    """

    def __init__(self, cloud: lab_cloud.Cloud) -> None:
        self.cloud = cloud
        self.source, self.destination = room.hosts()
        self.watch: observer.Observer | None = None
        self._server: servers.Server | None = None
        self.others: list[Other] = []

    @property
    def server(self) -> servers.Server:
        """The guest's server."""
        if self._server is None:
            raise steps.LabError('find the guest', 'there is none')
        return self._server

    def host(self, side: str) -> lab_host.Host:
        """Find a host by its part: ``source`` or ``destination``."""
        return self.source if side == 'source' else self.destination

    def compute(self, side: str) -> compute.Compute:
        """Find the nova-compute of a host by its part."""
        name = self.host(side).name
        return next(
            one for one in self.cloud.computes if one.host.name == name
        )

    # --- the guest

    def boot(self) -> None:
        """Boot a guest on the source, in the place of any other."""
        self.clear()
        self._server = self.cloud.boot(
            SERVER,
            arguments.MEMORY_MIB,
            reporting=False,
            host=self.source.name,
        )
        self.guest().hold(HELD_MIB, REWRITTEN_PAGES_PER_SECOND)

    def clear(self) -> None:
        """Remove the guest, whatever Nova thinks of it."""
        for server in self.cloud.servers():
            if server.name == SERVER:
                self._remove(server)
        self._server = None
        self._free_allocations()

    def gather(self) -> None:
        """Have as many other guests as there are to be; boot those missing.

        Those that are there stay where the migrations before have left them.
        """
        for host, count in (
            (self.source, LEAVING),
            (self.destination, COMING),
        ):
            for _ in range(min(count, LEAVING + COMING - len(self.others))):
                self._boot_other(host)

    def _boot_other(self, host: lab_host.Host) -> None:
        server = self.cloud.boot(
            _OTHER, OTHER_MEMORY_MIB, reporting=False, host=host.name
        )
        (there,) = (one for one in room.hosts() if one.name != host.name)
        self.others.append(Other(server, host, there))
        self.guest(server).hold(HELD_MIB, REWRITTEN_PAGES_PER_SECOND)

    def dismiss(self, other: Other) -> None:
        """Remove one of the other guests."""
        self.others.remove(other)
        self._remove(other.server)
        self._free_allocations()

    def _remove(self, server: servers.Server) -> None:
        for domain in self.domains(server.id):
            with contextlib.suppress(libvirt.libvirtError):
                if domain.isActive():
                    domain.destroy()
        self.cloud.delete(server)
        for domain in self.domains(server.id):
            with contextlib.suppress(libvirt.libvirtError):
                if domain.isActive():
                    domain.destroy()
                domain.undefine()

    def _free_allocations(self) -> None:
        """Delete allocations in Placement that nobody uses.

        A migration whose nova-compute was killed keeps what it had, until
        the operator's tools find it; the hosts would fill up.
        """
        placement = self.cloud.api.placement
        servers = {server.id for server in self.cloud.servers()}
        for provider in placement.resource_providers():
            answer = placement.get(
                f'/resource_providers/{provider.id}/allocations'
            )
            for consumer in set(answer.json()['allocations']) - servers:
                placement.delete(f'/allocations/{consumer}')

    @staticmethod
    def domains(uuid: str) -> list[libvirt.virDomain]:
        """Find what the hosts have of a guest."""
        found = []
        for host in room.hosts():
            with contextlib.suppress(libvirt.libvirtError):
                found.append(host.libvirt().lookupByUUIDString(uuid))
        return found

    def runs_on(
        self, server: servers.Server | None = None
    ) -> list[lab_host.Host]:
        """Find the hosts a guest runs on."""
        return [host for host, _ in self.running(server)]

    def guest(self, server: servers.Server | None = None) -> lab_guest.Guest:
        """Reach into a guest, where it runs.

        :param server: its server; None for the first guest's, as elsewhere.
        :raises LabError: it does not.
        """
        for _, domain in self.running(server):
            return lab_guest.Guest(domain)
        raise steps.LabError('find the guest', 'it runs on no host')

    def running(
        self, server: servers.Server | None = None
    ) -> Iterator[tuple[lab_host.Host, libvirt.virDomain]]:
        """Find a guest; a paused half of a broken migration is none."""
        uuid = (server or self.server).id
        for host in room.hosts():
            with contextlib.suppress(libvirt.libvirtError):
                domain = host.libvirt().lookupByUUIDString(uuid)
                if observer.state(domain, arrives=True) is State.RUNNING:
                    yield host, domain

    def here(self) -> libvirt.virDomain:
        """Find the guest as it migrates: on the host where it runs."""
        is_there = self.watch is not None and (
            self.watch.view().destination.state is State.RUNNING
        )
        side = self.destination if is_there else self.source
        return side.libvirt().lookupByUUIDString(self.server.id)

    def in_guest(self, script: str) -> None:
        """Have the guest do something, and do not wait for it.

        A guest that changes hosts is out of reach until its agent has been
        found where it lands.

        :raises TimeoutError: it is for long.
        """

        def ask() -> bool:
            try:
                lab_guest.Guest(self.here()).ask(
                    'guest-exec',
                    {'path': 'sh', 'arg': ['-c', f'cd /; {script}']},
                )
            except libvirt.libvirtError as error:
                if error.get_error_code() in _OUT_OF_REACH:
                    return False
                raise
            return True

        steps.wait_for(ask, 'the guest agent', _REACH_SECONDS, 0.02)

    def wait_answering(
        self, server: servers.Server | None = None
    ) -> lab_guest.Guest:
        """Wait until a guest answers, wherever it runs."""

        def answers() -> lab_guest.Guest | None:
            try:
                guest = self.guest(server)
                guest.ask('guest-ping', timeout_seconds=2)
            except (steps.LabError, libvirt.libvirtError):
                return None
            return guest

        found: lab_guest.Guest = steps.wait_for(
            answers, 'an answer of the guest agent', _GUEST_SECONDS
        )
        return found

    def wait_idle(
        self, seconds: float, server: servers.Server | None = None
    ) -> None:
        """Wait until Nova does nothing with a server, if it ever does."""
        with contextlib.suppress(TimeoutError):
            steps.wait_for(
                functools.partial(self.is_idle, server or self.server),
                'the end of what Nova does',
                seconds,
                every_seconds=0.5,
            )

    def is_idle(self, server: servers.Server) -> bool:
        """Tell whether Nova does nothing with a server."""
        try:
            server = self.cloud.get(server)
        except sdk_exceptions.NotFoundException:
            return True
        except sdk_exceptions.SDKException:
            return False
        return not server.task_state

    # --- the hosts

    def configure(self, post_copy: bool = False) -> None:
        """Tell the computes what the faults take, from their next start.

        Those that run and do not are stopped.

        :param post_copy: whether Nova may use it.
        """
        for one in self.cloud.computes:
            one.environment['PATH'] = f'{_PROGRAMS}:{os.environ["PATH"]}'
            one.set_lines('faults', _SETTINGS)
            one.set_lines('post-copy', _POST_COPY if post_copy else '')
            one.set_lines(SWITCHED_OFF, '')

    def unconfigure(self) -> None:
        """Have the computes as they were, from their next start on."""
        for one in self.cloud.computes:
            one.environment.pop('PATH', None)
            for name in ('faults', 'post-copy', SWITCHED_OFF):
                one.set_lines(name, '')

    def kill_computes(self) -> None:
        """Kill both nova-computes, also one that hangs."""
        for one in self.cloud.computes:
            processes.kill(one.daemon.pid_file)

    def start_computes(self) -> None:
        """Have both nova-computes run and take requests."""
        steps.in_parallel(
            *(
                functools.partial(one.start, self.cloud.api)
                for one in self.cloud.computes
            )
        )
        # Nova refuses this of a host that was evacuated and is not up yet.
        api = self.cloud.api.compute
        for service in api.services(binary='nova-compute'):
            if service.is_forced_down:
                api.update_service_forced_down(service.id, forced=False)

    def set_link(self, mbit: int | None) -> None:
        """Limit the link, or do not."""
        network.set_link(mbit)

    def turn(self) -> None:
        """Have the hosts that the guests are on be their sources."""
        everyone: tuple[Stage | Other, ...] = (self, *self.others)
        for one in everyone:
            (where,) = self.runs_on(one.server)
            if where.name != one.source.name:
                one.source, one.destination = one.destination, one.source

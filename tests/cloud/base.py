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

"""Tests that use the whole cloud, through Nova's API."""

import atexit
from collections.abc import Callable
import functools
import itertools
from typing import Any
import unittest

import libvirt

from nova_freemem.virt import guest as guests
from tests.lab import cloud as lab_cloud
from tests.lab import compute
from tests.lab import host as lab_host
from tests.lab import layout
from tests.lab import network
from tests.lab import room
from tests.lab import servers
from tests.lab import steps
from tests.lab import teardown
from tests.lab import witness

#: Of a nova-compute that restores memory, and releases none.
RELEASES_NOTHING = '[freemem]\nenabled = false\n'

#: The drop-in file of what tests configure; it sorts after the one that knows
#: the limit of the link.
DROP_IN = 'test'

_HELD_MIB = 32

# What is sent depends on how much of its memory a guest has released by then:
# emulated on a busy machine, at 90 MiB/s instead of 600. The link has to be
# slower than that, or what a test measures is the machine.
SLOW_LINK_MBIT = 300


@functools.cache
def _cloud() -> lab_cloud.Cloud:
    """Bring the cloud up for all tests; down only if it was not up."""
    cloud = lab_cloud.Cloud()
    if cloud.is_up:
        atexit.register(_unconfigure, cloud)
    else:
        # The logs, which tell more of a failure, stay with the databases.
        teardown.at_exit(lambda: CloudTestCase.something_failed)
    cloud.up(plugin=True)
    return cloud


def _unconfigure(cloud: lab_cloud.Cloud) -> None:
    """Leave nothing of what a test configured; what ran with it is stopped."""
    for one in cloud.computes:
        _configure(one)


def _configure(
    one: compute.Compute,
    plugin: bool = True,
    own_disks: bool = False,
    lines: str = '',
) -> None:
    """Write what a nova-compute starts with; stop it if that changed."""
    one.set_plugin(plugin)
    one.set_own_disks(own_disks)
    one.set_lines(DROP_IN, lines)


class CloudTestCase(unittest.TestCase):
    """Boots servers on the first host, and checks their guests.

    :cvar lines: what the configuration of both nova-computes has in addition.
    :cvar destination_lines: what the second host's has as well, after that.
    :cvar plugins: whether the first host has the plugin, and the second.
    :cvar own_disks: whether each host has its own folder of disks.
    """

    lines = ''
    destination_lines = ''
    plugins = (True, True)
    own_disks = False

    something_failed = False

    def run(self, result: unittest.TestResult | None = None) -> Any:
        """Run the test, and remember whether one has failed."""
        outcome = super().run(result)
        if result is not None and not result.wasSuccessful():
            CloudTestCase.something_failed = True
        return outcome

    def setUp(self) -> None:
        super().setUp()
        self.cloud = _cloud()
        self._numbers = itertools.count(1)
        self.source, self.destination = room.hosts()
        self.start_computes()

    def start_computes(self) -> None:
        """Have both nova-computes run, configured as the tests need it.

        One that runs and is configured so goes on.
        """
        steps.in_parallel(
            *(
                functools.partial(self._start_compute, one)
                for one in self.cloud.computes
            )
        )

    def _start_compute(self, one: compute.Compute) -> None:
        lines = self.lines
        is_destination = one.host.name == self.destination.name
        if is_destination:
            lines += self.destination_lines
        _configure(one, self.plugins[is_destination], self.own_disks, lines)
        one.start(self.cloud.api)

    def compute(self, host: lab_host.Host) -> compute.Compute:
        """Return the nova-compute of a host."""
        return next(
            one for one in self.cloud.computes if one.host.name == host.name
        )

    def boot_used(
        self,
        memory_mib: int,
        freed_mib: int,
        host: lab_host.Host | None = None,
        held_mib: int = _HELD_MIB,
        **others: Any,
    ) -> servers.Server:
        """Boot a server that has used memory, and freed most of it.

        :param memory_mib: the server's memory.
        :param freed_mib: how much of it was dirtied and is free.
        :param host: where; else the source.
        :param held_mib: how much it uses.
        :param others: of Cloud.boot().
        """
        number = next(self._numbers)
        name = self.id().rpartition('.')[2].replace('_', '-')
        server = self.cloud.boot(
            f'{name}-{number}',
            memory_mib,
            reporting=False,
            host=(host or self.source).name,
            **others,
        )
        self.addCleanup(self.cloud.delete, server)
        guest = self.cloud.guest(server)
        guest.hold(held_mib)
        guest.fill_dirty(freed_mib)
        return server

    def set_link(self, mbit: int) -> None:
        """Set what the link carries, until the test has ended."""
        network.set_link(mbit)
        self.addCleanup(network.set_link, room.LINK_MBIT)

    def question(self, server: servers.Server) -> witness.Witness:
        """Ask a server's guest, where it is now, how it is."""
        return witness.question(self.cloud.guest(server))

    def assert_whole(
        self, server: servers.Server, before: witness.Witness
    ) -> None:
        """Fail unless a guest is intact and gets all its memory."""
        self.wait_until(
            'the end of the journal entry', lambda: self.entry(server) is None
        )
        now = self.question(server)
        wrong = witness.changes(before, now) + witness.losses(before, now)
        self.assertEqual([], wrong)

    def entry(self, server: servers.Server) -> str | None:
        """Read the journal entry of a server's domain, where it is now."""
        handle = self.cloud.guest(server).domain
        return guests.Guest(handle).read_metadata()

    def traits(self, host: lab_host.Host) -> dict[str, Any]:
        """Read what ``openstack resource provider trait list`` shows.

        :returns: the traits of a host, and the generation they are of.
        """
        url = self.traits_url(host)
        answer = self.cloud.api.placement.get(url, microversion='1.6')
        found: dict[str, Any] = answer.json()
        return found

    def traits_url(self, host: lab_host.Host) -> str:
        """Where Placement has the traits of a host."""
        (provider,) = self.cloud.api.placement.resource_providers(
            name=host.layout.hostname
        )
        return f'/resource_providers/{provider.id}/traits'

    def log_of(self, host: lab_host.Host, server: servers.Server) -> list[str]:
        """Read what a host's nova-compute logged of a server."""
        log = layout.LAB.log / f'{host.name}-nova-compute.log'
        lines = log.read_text(errors='replace').splitlines()
        return [line for line in lines if f'[instance: {server.id}]' in line]

    def wait_until_transferring(self, server: servers.Server) -> None:
        """Wait until some of a guest's memory has been transferred."""
        domain = self.source.libvirt().lookupByUUIDString(server.id)

        def sent() -> bool:
            job = domain.jobStats()
            return job.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PROCESSED, 0) > 0

        self.wait_until('the transfer', sent)

    def wait_until(
        self, what: str, probe: Callable[[], object], seconds: float = 60
    ) -> None:
        """Wait until a probe is true; fail when the time is up."""
        try:
            steps.wait_for(probe, what, seconds, every_seconds=0.1)
        except TimeoutError as late:
            self.fail(str(late))

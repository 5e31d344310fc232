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

"""Several servers migrate at once, from a host and to it."""

from collections.abc import Iterator
import contextlib
import functools
import re
import threading
from typing import NamedTuple

from nova_freemem import exceptions
from nova_freemem.virt import guest as guests
from tests.cloud import base
from tests.lab import host as lab_host
from tests.lab import images
from tests.lab import servers
from tests.lab import steps
from tests.lab import witness

# Nova lets one guest at a time leave a host, unless told otherwise. What the
# link carries is to be measured.
_TWO_AT_A_TIME = """\
[DEFAULT]
max_concurrent_live_migrations = 2
[freemem]
migration_bandwidth_mbps = 0
"""

_EXPECTED = re.compile(
    r' at (\d+) Mbit/s \(measured in the last migrations there'
    r'(?:; shared by (\d+) migrations)?\)'
)

# More than the link carries, nobody can have measured. Less they may have on
# a busy machine, but not what each of two got.
_LEAST_MBPS, _MOST_MBPS = 0.6 * base.SLOW_LINK_MBIT, 1.25 * base.SLOW_LINK_MBIT

_MEMORY_MIB, _FREED_MIB = 512, 260


class Planned(NamedTuple):
    """A migration to come, and how its guest is before it."""

    server: servers.Server
    source: lab_host.Host
    destination: lab_host.Host
    before: witness.Witness


class HostsThatAreDrainedAtOnce(base.CloudTestCase):
    """Servers leave the first host while another leaves the second."""

    lines = _TWO_AT_A_TIME

    def setUp(self) -> None:
        super().setUp()
        self.set_link(base.SLOW_LINK_MBIT)
        self.planned: list[Planned] = []

    def _boot(self) -> None:
        """Boot two servers on the first host, and one on the second."""
        images.flavor(self.cloud.api, _MEMORY_MIB)  # once, not by each
        here, there = self.source, self.destination
        paths = [(here, there), (here, there), (there, here)]
        self.planned = steps.in_parallel(
            *(functools.partial(self._plan, *path) for path in paths)
        )

    def _plan(
        self, source: lab_host.Host, destination: lab_host.Host
    ) -> Planned:
        server = self.boot_used(_MEMORY_MIB, _FREED_MIB, source)
        return Planned(server, source, destination, self.question(server))

    def test_there_and_back_each_guest_gets_all_its_memory(self) -> None:
        self._boot()
        with self._watched() as seen:
            started = self._begin()
            ends = self._finish(started)
        self.assertEqual(['completed'] * 3, ends)
        for one in self.planned:
            self._assert_released_and_restored(one)
        # At some moment more than one of them had outstanding memory.
        self.assertGreater(max(map(len, seen)), 1)
        self._turn_round()
        self.assertEqual(['completed'] * 3, self._finish(self._begin()))
        for one in self.planned:
            self._assert_released_and_restored(one)
        self._assert_shares()

    def _turn_round(self) -> None:
        """Have each guest use memory again, and go where it came from."""
        for number, one in enumerate(self.planned):
            self.cloud.guest(one.server).fill_dirty(_FREED_MIB)
            self.planned[number] = one._replace(
                source=one.destination,
                destination=one.source,
                before=self.question(one.server),
            )

    def _assert_shares(self) -> None:
        """Fail unless the second drain knew what a path carries.

        Its own, that is: nothing of what came the other way at the same time,
        and of what several sent, the sum.
        """
        found = [
            (int(mbps) * int(sharers or 1), int(sharers or 1))
            for one in self.planned
            for line in self.log_of(one.source, one.server)
            for mbps, sharers in _EXPECTED.findall(line)
        ]
        for mbps, _sharers in found:
            self.assertTrue(_LEAST_MBPS <= mbps <= _MOST_MBPS, found)
        self.assertGreater(max(sharers for _mbps, sharers in found), 1, found)

    def test_aborting_one_migration_does_not_affect_the_others(self) -> None:
        self._boot()
        aborted, *others = self.planned
        with self._watched() as seen:
            started = self._begin()
            self.wait_until(
                'outstanding memory of the first guest',
                lambda: any(aborted.server.id in found for found in seen),
            )
            self.cloud.abort_migration(aborted.server)
            first, *rest = self._finish(started)
        self.assertIn(first, ('cancelled', 'error'))
        self.assertEqual(
            aborted.source.name, self.cloud.host(aborted.server).name
        )
        self.assert_whole(aborted.server, aborted.before)
        self.assertEqual(['completed'] * len(others), rest)
        for one in others:
            self._assert_released_and_restored(one)

    def _begin(self) -> list[float]:
        return [
            self.cloud.begin_migration(one.server, to=one.destination.name)
            for one in self.planned
        ]

    def _finish(self, started: list[float]) -> list[str]:
        return [
            self.cloud.finish_migration(one.server, when).status
            for one, when in zip(self.planned, started, strict=True)
        ]

    def _assert_released_and_restored(self, one: Planned) -> None:
        self.assertEqual(
            one.destination.name, self.cloud.host(one.server).name
        )
        self.assert_whole(one.server, one.before)
        lines = self.log_of(one.source, one.server)
        released = [line for line in lines if '] Released ' in line]
        self.assertEqual(1, len(released), lines)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[list[frozenset[str]]]:
        """Keep looking for guests with outstanding memory.

        :returns: those that were found, a set for each look.
        """
        seen: list[frozenset[str]] = []
        is_over = threading.Event()
        thread = threading.Thread(
            target=self._look, args=(seen, is_over), daemon=True
        )
        thread.start()
        try:
            yield seen
        finally:
            is_over.set()
            thread.join()

    def _look(
        self, seen: list[frozenset[str]], is_over: threading.Event
    ) -> None:
        connections = [
            one.libvirt() for one in (self.source, self.destination)
        ]
        while not is_over.wait(0.05):
            outstanding = set()
            for connection in connections:
                for handle in connection.listAllDomains():
                    with contextlib.suppress(exceptions.FreememError):
                        if guests.Guest(handle).read_metadata():
                            outstanding.add(handle.UUIDString())
            seen.append(frozenset(outstanding))

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

"""One guest's migration: what the tests of all its parts have in common."""

from collections.abc import Iterator
import contextlib
import functools
import threading
from typing import Any
from unittest import mock

from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire import guest_agent
from nova_freemem.migrate import decision
from nova_freemem.migrate import engine as engines
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.plan import backoff as backoffs
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import release_rate as release_rates
from nova_freemem.plan import traffic
from nova_freemem.plan.reasons import Reason
from nova_freemem.release import balloon
from nova_freemem.release.base import EndReason
from nova_freemem.release.requests import Request
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from tests import base
from tests.simulation import fakes
from tests.simulation.guest import JournalWatch

UUID = '7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2'


class WatchedGuest(fakes.SimulatedGuest):
    """A guest that never misses memory without a journal entry."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._journal = JournalWatch()

    def check(self) -> None:
        super().check()
        self._journal.look(self)


@functools.cache
def make_stand_ins() -> tuple[mock.Mock, mock.Mock]:
    """Make a reporter and what is known of paths.

    Making them takes longer than a migration.
    """
    return (
        mock.create_autospec(reporters.Reporter, instance=True),
        mock.create_autospec(bandwidths.Bandwidths, instance=True),
    )


class World:
    """A guest, two hosts, and one migration between them."""

    def __init__(
        self,
        mode: str = 'before',
        os_type: str | None = None,
        copies_disks: bool = False,
        **guest: Any,
    ) -> None:
        self.copies_disks = copies_disks
        self.clock = fakes.FakeClock()
        self.guest = WatchedGuest(self.clock, **guest)
        self.source = fakes.FakeGuest(self.guest, 'source')
        self.destination = fakes.FakeGuest(self.guest, 'dest')
        self.reporter, paths = make_stand_ins()
        self.reporter.reset_mock()
        paths.reset_mock()
        self.engine = engines.Engine(
            fakes.make_policy(mode=mode, migration_bandwidth_mbps=1000),
            (
                guest_agent.GuestAgent('guest_agent', 5),
                balloon_stats.BalloonStats('balloon_stats', 5),
            ),
            balloon.Balloon(),
            paths,
            release_rates.ReleaseRates(),
            backoffs.Backoff(),
        )
        paths.to.return_value = bandwidths.Bandwidth.of_mbps(
            1000, bandwidths.Origin.CONFIGURED
        )
        paths.traffic = traffic.Traffic()
        self.accepted_requests: list[Request] = []
        self.start_again(os_type)

    def start_again(
        self, os_type: str | None = None, dest: str = 'dest'
    ) -> None:
        """Let the guest be migrated, once more."""
        self.reconciler = self.make_reconciler(self.source)
        self.migration = source.SourceMigration(
            self.source,
            self.engine,
            self.reporter,
            decision.Migration(
                uuid=UUID,
                host='source',
                dest=dest,
                os_type=os_type,
                copies_disks=self.copies_disks,
            ),
            self.clock,
            functools.partial(
                self.reconciler.restore_and_wait, fakes.UUID, self.reporter
            ),
        )

    def make_reconciler(self, guest: fakes.FakeGuest) -> reconciler.Reconciler:
        """:returns: that of a guest's host; whoever waits does its work."""
        return reconciler.Reconciler(
            fakes.FakeHost(guest).lend,
            locks.Locks(self.clock),
            self.clock,
            self.engine.policy.reconcile_interval_seconds,
            self.engine.policy.restore_workers,
        )

    def start_compute(self, host: str) -> reconciler.Reconciler:
        """Let nova-compute start on a host, with its reconciler."""
        restorer = self.make_reconciler(fakes.FakeGuest(self.guest, host))
        restorer.start()
        return restorer

    def prepare(self) -> bool:
        """:returns: whether the transfer is to start."""
        self.state = self.migration.prepare()
        return not isinstance(self.state, states.Cancelled)

    def request_after(self, seconds: float, request: Request) -> None:
        def give() -> None:
            if self.migration.requests.submit(request):
                self.accepted_requests.append(request)

        self.clock.after(seconds, give)

    @contextlib.contextmanager
    def transfer(self) -> Iterator[None]:
        """Be Nova's transfer, in which libvirt's own calls wait."""
        with self.migration.transfer(self.state):
            self.guest.transferred_kib = 0
            try:
                yield
            finally:
                self.guest.transferred_kib = None
                self.guest.disks_copied_at_seconds = None

    def copy_disks(self, seconds: float, *, ends: bool = True) -> None:
        """Let the transfer copy disks from now on, and then send memory.

        :param seconds: how long that takes, as libvirt shows it
        :param ends: whether memory is sent then
        """
        self.guest.disks_copied_at_seconds = self.clock.now() + seconds
        if ends:
            self.clock.after(seconds, self.send_memory)

    def send_memory(self) -> None:
        """Let the transfer, if it runs, send memory from now on."""
        if self.guest.transferred_kib is not None:
            self.guest.transferred_kib = 4

    def land(self) -> None:
        """Let the guest land, and its memory be restored."""
        self.guest.host = 'dest'
        self.make_reconciler(self.destination).restore_and_wait(
            fakes.UUID, self.reporter, None
        )

    def is_whole(self) -> bool:
        """:returns: whether the guest has all, and the journal is empty."""
        guest = self.guest
        guest.check()
        return (
            guest.missing_kib == 0
            and guest.metadata is None
            and guest.target_kib == guest.memory_kib
            and guest.definition_kib == guest.memory_kib
            and guest.stats_period_seconds == 10
            and guest.definition_stats_period_seconds == 10
        )

    def reasons(self) -> list[Reason]:
        return [
            call.args[0].reason
            for call in self.reporter.skipped.call_args_list
        ]

    def ends(self) -> list[EndReason]:
        return [
            call.args[1].end for call in self.reporter.released.call_args_list
        ]


class MigrationTestCase(base.TestCase):
    """A test whose threads run in its world's own time."""

    def setUp(self) -> None:
        super().setUp()
        self.thread = self.patch_autospec(threading, 'Thread')

    def make_world(self, **guest: Any) -> World:
        world = World(**guest)
        self.thread.side_effect = world.clock.thread
        return world

    def make_skipped(self, reason: Reason, **guest: Any) -> World:
        """Migrate a guest, and fail unless it is skipped for one reason."""
        world = self.make_world(**guest)
        if reason is Reason.NO_BALLOON:
            self.patch_autospec(
                world.source, 'memory_stats', return_value=None
            )
        self.assertTrue(world.prepare())
        with world.transfer():
            pass
        self.assertEqual([reason], world.reasons())
        return world

    def have_no_threads(self) -> None:
        """Let no thread start any more."""
        self.thread.side_effect = None
        self.thread.return_value.ident = None
        self.thread.return_value.start.side_effect = RuntimeError('no thread')

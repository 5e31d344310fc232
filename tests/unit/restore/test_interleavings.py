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

"""Everybody who restores, releases or writes entries, in whatever order.

Two guests, two hosts, and a nova-compute on each. Migrations, landings,
reconcilers, commands and operators run as threads in the fake time, so they
meet wherever one of them waits.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import datetime
import threading
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import stateful
from hypothesis import strategies

from nova_freemem import exceptions
from nova_freemem.migrate import decision
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.release.requests import Request
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt.guest import Situation
from tests.simulation import fake_clock
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.unit.migrate import base as migrate_base

INTERVAL_SECONDS = 60
MIGRATION = 'a migration under way'
LOCK_WAIT_SECONDS = 5.0
HOSTS = strategies.sampled_from(['source', 'dest'])
GUESTS = strategies.sampled_from(['one', 'other'])
SPOILT = '<outstanding format="2"/>'
SECONDS = strategies.sampled_from([0.0, 0.05, 0.3, 1.0, 3.0, 7.0, 20.0])


class Killed(BaseException):
    """The process was killed."""


class Handle(fakes.FakeGuest):
    """A guest as one process has it of one libvirtd.

    Its calls raise where the process was killed, or the libvirtd that it was
    looked up at was restarted.

    :ivar given_up: whether the migration that has it gave the guest up
    """

    def __init__(
        self, compute: 'Compute', guest: fakes.SimulatedGuest
    ) -> None:
        super().__init__(guest, compute.host, guest.uuid)
        self._compute = compute
        self._libvirtd = compute.cloud.libvirtds[compute.host]
        self.given_up = False

    def __getattribute__(self, name: str) -> Any:
        member = super().__getattribute__(name)
        if name in CALLS:
            self._compute.check_alive()
            if self.given_up and name in CHANGES:
                self._compute.cloud.clashes.append((name, self.uuid))
            libvirtds = self._compute.cloud.libvirtds
            if self._libvirtd != libvirtds[self._compute.host]:
                raise fakes.libvirt_error(
                    exceptions.LibvirtError, 'client socket is closed'
                )
        return member


CALLS = {
    name
    for name, member in vars(fakes.FakeGuest).items()
    if hasattr(member, '__wrapped__')
}


CHANGES = {
    'set_balloon_kib',
    'steer_balloon_kib',
    'set_stats_period_seconds',
    'write_metadata',
    'erase_metadata',
}


class Compute:
    """One process: a nova-compute with its reconciler, or a command.

    It stands for the host as well, as the reconciler sees it.

    :ivar checked_at: when each guest was looked up
    :ivar held: the guests that are a migration's
    """

    def __init__(self, cloud: 'Interleavings', host: str) -> None:
        self.cloud = cloud
        self.host = host
        self.alive = True
        self.checked_at: dict[str, list[float]] = {}
        self.held: set[str] = set()
        self.reconciler = reconciler.Reconciler(
            self.lend,
            locks.Locks(cloud.clock),
            cloud.clock,
            INTERVAL_SECONDS,
            workers=1,
        )

    def check_alive(self) -> None:
        if not self.alive:
            raise Killed

    @contextlib.contextmanager
    def lend(self) -> Iterator['Compute']:
        self.check_alive()
        yield self

    def journal_entries(self) -> dict[str, str]:
        self.check_alive()
        return {
            guest.uuid: guest.metadata
            for guest in self.cloud.guests.values()
            if guest.host == self.host and guest.metadata is not None
        }

    def guest(self, uuid: str) -> Handle:
        """Look a guest up; the reconciler does for each step."""
        self.check_alive()
        if uuid in self.held:
            self.cloud.clashes.append(('looked up', uuid))
        self.checked_at.setdefault(uuid, []).append(self.cloud.clock.now())
        if self.cloud.guests[uuid].host != self.host:
            raise fakes.libvirt_error(exceptions.DomainGone, 'no domain')
        return Handle(self, self.cloud.guests[uuid])


class Interleavings(stateful.RuleBasedStateMachine):
    """What can happen, and what must never be."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = fakes.FakeClock()
        self._threads = mock.patch.object(
            threading, 'Thread', autospec=True, side_effect=self.thread
        )
        self._threads.start()
        self.guests = {}
        for uuid in ('one', 'other'):
            guest = fakes.SimulatedGuest(self.clock)
            guest.uuid = uuid
            self.guests[uuid] = guest
        self.libvirtds = {'source': 0, 'dest': 0}
        self.moving: set[str] = set()
        self.staying: dict[str, Compute] = {}
        self.snapshots: dict[str, tuple[int, int]] = {}
        # Their assertions would be one more error that nova-compute survives.
        self.clashes: list[tuple[str, str]] = []
        self.erased: set[str] = set()
        self.reporter, paths = migrate_base.make_stand_ins()
        paths.to.return_value = bandwidths.Bandwidth.of_mbps(
            1000, bandwidths.Origin.CONFIGURED
        )
        self.engine = migrate_base.World(mode='auto').engine
        self.computes = {
            host: Compute(self, host) for host in ('source', 'dest')
        }
        for compute in self.computes.values():
            compute.reconciler.start()

    def teardown(self) -> None:
        try:
            self.calm_down()
        finally:
            self._threads.stop()

    def thread(
        self,
        target: Callable[..., object],
        args: tuple[Any, ...] = (),
        **_kwargs: Any,
    ) -> fake_clock.FakeThread:
        """:returns: a thread that ends quietly where its process does."""

        def run(*args: Any) -> None:
            with contextlib.suppress(Killed):
                target(*args)

        return self.clock.thread(run, args)

    def begin(self, target: Callable[..., object], *args: Any) -> None:
        self.thread(target, args).start()

    # What Nova does.

    @stateful.rule(
        uuid=GUESTS,
        lands=strategies.booleans(),
        request=strategies.sampled_from([None, *Request]),
        wait=SECONDS,
    )
    def migrate(
        self, uuid: str, lands: bool, request: Request | None, wait: float
    ) -> None:
        guest = self.guests[uuid]
        if uuid not in self.moving and guest.running and guest.persistent:
            if not guest.missing_kib:  # it has used all, and freed it again
                guest.touched_kib = guest.free_kib
            self.moving.add(uuid)
            if not lands:
                self.staying[uuid] = self.computes[guest.host]
            self.begin(self._migrate, uuid, lands, request)
        self.clock.wait(wait)

    def _migrate(
        self, uuid: str, lands: bool, request: Request | None
    ) -> None:
        guest = self.guests[uuid]
        compute = self.computes[guest.host]
        dest = 'dest' if guest.host == 'source' else 'source'
        try:
            with compute.reconciler.hold(uuid, LOCK_WAIT_SECONDS) as hold:
                if hold is None:
                    return
                handle = compute.guest(uuid)
                compute.held.add(uuid)

                def give_up(known: journal.JournalEntry | None) -> bool:
                    compute.held.discard(uuid)
                    handle.given_up = True
                    hindered = self.is_hindered(guest)
                    is_done = hold.restore(self.reporter, known)
                    if not (is_done or hindered or self.is_hindered(guest)):
                        self.clashes.append(('waited for', uuid))
                    return is_done

                migration = source.SourceMigration(
                    handle,
                    self.engine,
                    self.reporter,
                    decision.Migration(
                        uuid=MIGRATION, host=compute.host, dest=dest
                    ),
                    self.clock,
                    give_up,
                )
                if request is not None:
                    self.clock.after(
                        2, lambda: migration.requests.submit(request)
                    )
                try:
                    state = migration.prepare()
                    if isinstance(state, states.Cancelled):
                        return
                    with migration.transfer(state):
                        compute.check_alive()
                        self._transfer(guest, dest if lands else None)
                finally:
                    migration.restore()
                    compute.held.discard(uuid)
        finally:
            self.moving.discard(uuid)
            self.staying.pop(uuid, None)

    def is_hindered(self, guest: fakes.SimulatedGuest) -> bool:
        """:returns: whether it may not get its memory within seconds."""
        answers = self.guests['one'].answers
        return (
            guest.deflates_up_to_kib < guest.memory_kib
            or guest.metadata == SPOILT
            or not self.computes[guest.host].alive
            or (answers is not None and not answers.is_set())
        )

    def _transfer(self, guest: fakes.SimulatedGuest, dest: str | None) -> None:
        guest.transferred_kib = 0.0
        self.clock.wait(3)
        guest.check()
        guest.transferred_kib = None
        if dest is not None:
            guest.host = dest
            compute = self.computes[dest]
            compute.reconciler.notify(guest.uuid)
            self.begin(self._land, compute, guest.uuid)

    def _land(self, compute: Compute, uuid: str) -> None:
        self.clock.wait(0.5)
        compute.reconciler.restore(
            uuid,
            self.reporter,
            contextlib.nullcontext,
            contextlib.nullcontext(),
        )

    @stateful.rule(uuid=GUESTS)
    def an_event_tells_of_the_guest(self, uuid: str) -> None:
        self.computes[self.guests[uuid].host].reconciler.notify(uuid)

    @stateful.rule(uuid=GUESTS)
    def nova_begins_a_snapshot(self, uuid: str) -> None:
        """Have the domain undefined, and its definition kept for later."""
        guest = self.guests[uuid]
        if uuid not in self.moving and guest.persistent:
            guest.persistent = False
            self.snapshots[uuid] = (
                guest.definition_kib,
                guest.definition_stats_period_seconds,
            )

    @stateful.rule(uuid=GUESTS)
    def nova_ends_a_snapshot(self, uuid: str) -> None:
        guest = self.guests[uuid]
        if not guest.persistent:
            guest.persistent = True
            guest.definition_kib, guest.definition_stats_period_seconds = (
                self.snapshots.pop(uuid)
            )

    # What operators do.

    @stateful.rule(uuid=GUESTS, wait=SECONDS)
    def command_restore(self, uuid: str, wait: float) -> None:
        if uuid not in self.moving:
            self.begin(
                self._restore, Compute(self, self.guests[uuid].host), uuid
            )
        self.clock.wait(wait)

    def _restore(self, command: Compute, uuid: str) -> None:
        with contextlib.suppress(exceptions.FreememError):
            guest = command.guest(uuid)
            entry = journal.read(guest)
            if entry and guest.situation() is Situation.RUNNING:
                restorations.Restoration(guest, self.clock).watch(60)

    @stateful.rule(uuid=GUESTS, wait=SECONDS)
    def command_repair(self, uuid: str, wait: float) -> None:
        if uuid not in self.moving:
            self.begin(
                self._repair, Compute(self, self.guests[uuid].host), uuid
            )
        self.clock.wait(wait)

    def _repair(self, command: Compute, uuid: str) -> None:
        with contextlib.suppress(exceptions.FreememError):
            guest = command.guest(uuid)
            if (
                guest.read_metadata() is None
                or guest.situation() is not Situation.RUNNING
            ):
                return
            entry = journal.JournalEntry(
                4 * GIB,
                'repair',
                datetime.datetime.fromtimestamp(
                    self.clock.wall(), datetime.UTC
                ),
                'repair',
                10,
            )
            journal.write(guest, entry)
            restorations.Restoration(guest, self.clock).watch(60)

    @stateful.rule(uuid=GUESTS)
    def virsh_spoils_the_entry(self, uuid: str) -> None:
        guest = self.guests[uuid]
        if guest.metadata is not None and uuid not in self.moving:
            guest.metadata = SPOILT

    @stateful.rule(uuid=GUESTS)
    def virsh_restores_and_erases_the_entry(self, uuid: str) -> None:
        guest = self.guests[uuid]
        guest.check()
        if (
            guest.metadata is not None
            and guest.persistent
            and uuid not in self.moving
        ):
            guest.target_kib = guest.definition_kib = guest.memory_kib
            guest.stats_period_seconds = 10
            guest.definition_stats_period_seconds = 10
            guest.metadata = None
            self.erased.add(uuid)

    @stateful.rule(uuid=GUESTS)
    def nova_loses_the_entry(self, uuid: str) -> None:
        """Have the domain defined anew, of a guest that does not leave.

        Only the migration that wrote the entry knows it.
        """
        guest = self.guests[uuid]
        guest.check()
        if (
            uuid in self.staying
            and self.staying[uuid].alive
            and guest.metadata is not None
            and f'migration="{MIGRATION}"' in guest.metadata
        ):
            guest.metadata = None
            self.erased.add(uuid)

    @stateful.rule(uuid=GUESTS, running=strategies.booleans())
    def pause_or_resume(self, uuid: str, running: bool) -> None:
        guest = self.guests[uuid]
        if uuid not in self.moving:
            guest.check()
            guest.running = running
            self.computes[guest.host].reconciler.notify(uuid)

    @stateful.rule(uuid=GUESTS)
    def it_arrives_from_a_third_host(self, uuid: str) -> None:
        """Have memory outstanding, and nobody told of it."""
        guest = self.guests[uuid]
        if (
            uuid not in self.moving
            and guest.persistent
            and guest.metadata is None
        ):
            guest.check()
            if guest.missing_kib:
                return
            guest.metadata = journal.JournalEntry(
                4 * GIB, 'x', datetime.datetime.now(datetime.UTC), 'm', 10
            ).to_xml()
            guest.actual_kib = guest.target_kib = 1 * GIB
            guest.definition_kib = 1 * GIB
            guest.touched_kib = 0

    # What fails.

    @stateful.rule(host=HOSTS)
    def libvirtd_is_restarted(self, host: str) -> None:
        self.libvirtds[host] += 1

    @stateful.rule(host=HOSTS)
    def nova_compute_is_killed_and_started(self, host: str) -> None:
        if any(self.guests[uuid].host == host for uuid in self.erased):
            return  # It may be the only one that knows the entry.
        self.computes[host].alive = False
        self.computes[host].reconciler.stop()
        self.computes[host] = Compute(self, host)
        self.computes[host].reconciler.start()

    @stateful.rule(uuid=GUESTS, able=strategies.booleans())
    def balloon_driver_stops_or_goes_on(self, uuid: str, able: bool) -> None:
        guest = self.guests[uuid]
        guest.check()
        guest.deflates_up_to_kib = guest.memory_kib if able else 3 * GIB

    @stateful.rule()
    def qemu_hangs(self) -> None:
        guest = self.guests['one']
        if guest.answers is None or guest.answers.is_set():
            guest.check()
            guest.answers, guest.is_asked = threading.Event(), False

    @stateful.rule()
    def qemu_answers(self) -> None:
        if self.guests['one'].answers is not None:
            self.guests['one'].answers.set()

    @stateful.rule(wait=SECONDS)
    def time_passes(self, wait: float) -> None:
        self.clock.wait(wait)

    # What must never be.

    @stateful.invariant()
    def memory_is_never_missing_without_an_entry(self) -> None:
        for uuid, guest in self.guests.items():
            guest.check()
            if guest.metadata is not None or (
                not guest.missing_kib and guest.stats_period_seconds == 10
            ):
                self.erased.discard(uuid)
            assert (
                not guest.missing_kib
                or guest.metadata is not None
                or uuid in self.erased
            ), guest

    @stateful.invariant()
    def no_guest_is_checked_more_than_ten_times_a_second(self) -> None:
        for compute in self.computes.values():
            for times in compute.checked_at.values():
                for at, later in zip(times, times[15:], strict=False):
                    assert later - at >= 1.0, times

    @stateful.invariant()
    def a_guest_has_one_owner(self) -> None:
        assert not self.clashes, self.clashes

    @stateful.invariant()
    def nothing_of_ours_has_failed(self) -> None:
        for error in self.clock.errors:
            raise error

    def calm_down(self) -> None:
        """Let the faults end, first all but the hung QEMU."""
        for uuid, guest in self.guests.items():
            self.nova_ends_a_snapshot(uuid)
            guest.check()
            guest.running = True
            guest.deflates_up_to_kib = guest.memory_kib
        self.clock.wait(INTERVAL_SECONDS + 20)
        self.repair('other')
        self.clock.wait(INTERVAL_SECONDS + 20)
        self.assert_whole('other')
        self.it_arrives_from_a_third_host('other')
        self.clock.wait(INTERVAL_SECONDS + 20)
        self.assert_whole('other')
        self.qemu_answers()
        self.clock.wait(INTERVAL_SECONDS + 20)
        self.repair('one')
        self.clock.wait(INTERVAL_SECONDS + 20)
        self.assert_whole('one')
        for compute in self.computes.values():
            assert not compute.reconciler.remembered()

    def repair(self, uuid: str) -> None:
        """Do what the log asks for."""
        if self.guests[uuid].metadata == SPOILT:
            self._repair(Compute(self, self.guests[uuid].host), uuid)

    def assert_whole(self, uuid: str) -> None:
        guest = self.guests[uuid]
        guest.check()
        assert guest.metadata is None
        assert (
            guest.actual_kib
            == guest.target_kib
            == guest.definition_kib
            == guest.memory_kib
        ), guest
        assert guest.stats_period_seconds == 10


InterleavingsTest = Interleavings.TestCase
InterleavingsTest.settings = hypothesis.settings(
    max_examples=60, stateful_step_count=40
)

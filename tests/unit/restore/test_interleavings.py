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
meet wherever one of them waits, and that is at each call of libvirt's where
these take time. The commands are the ones that operators run.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import functools
import io
import math
import threading
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import stateful
from hypothesis import strategies

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.cli import base as cli_base
from nova_freemem.cli import compute_host
from nova_freemem.cli import repair
from nova_freemem.cli import restore
from nova_freemem.migrate import decision
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.release.requests import Request
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.restore import schedule
from nova_freemem.virt.memory_stats import TOLERANCE_KIB
from tests import base
from tests.simulation import fake_clock
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.unit.migrate import base as migrate_base

INTERVAL_SECONDS = 60
COMMAND_SECONDS = 60
MIGRATION = 'a migration under way'
LOCK_WAIT_SECONDS = 5.0
PERIOD_SECONDS = 10
# A guest that leaves and returns is away for longer than a few calls take.
AWAY_SECONDS = 5
# A call of libvirt's that changes a domain waits for a job so long.
JOB_WAIT_SECONDS = 30
HOSTS = strategies.sampled_from(['source', 'dest'])
GUESTS = strategies.sampled_from(['one', 'other'])
SPOILT = '<outstanding format="2"/>'
SECONDS = strategies.sampled_from([0.0, 0.05, 0.3, 1.0, 3.0, 7.0, 20.0])
# How long a call of libvirt's takes. Where it takes time, whoever else is
# under way gets in before it, and between any two.
CALL_SECONDS = strategies.sampled_from([0.0, 0.01, 0.11])
COMMAND_CALL_SECONDS = strategies.sampled_from([0.0, 0.01, 0.11, 1.0])
JOURNEYS = {
    'lands': strategies.booleans(),
    'copies_disks': strategies.booleans(),
    'is_told': strategies.booleans(),
    'mode': strategies.sampled_from(['auto', 'before', 'during']),
    'request': strategies.sampled_from([None, *Request]),
    'transfer_seconds': strategies.sampled_from([3.0, 12.0, 40.0]),
    'gap_seconds': strategies.sampled_from([0.0, 1.0]),
}


class Killed(BaseException):
    """The process was killed."""


class Handle(fakes.FakeGuest):
    """A guest as one process has it of one libvirtd.

    Its calls raise where the process was killed, or the libvirtd that it was
    looked up at was restarted.

    :ivar given_up: whether the migration that has it gave the guest up
    :ivar journey: that migration, None where no migration has it
    """

    def __init__(
        self,
        compute: 'Compute',
        guest: fakes.SimulatedGuest,
        journey: 'Journey | None' = None,
    ) -> None:
        super().__init__(guest, compute.host, guest.uuid)
        self._compute = compute
        self._libvirtd = compute.cloud.libvirtds[compute.host]
        self._seen_entries: list[str | None] = []
        self.journey = journey
        self.given_up = False

    def __getattribute__(self, name: str) -> Any:
        member = super().__getattribute__(name)
        if name in CALLS:
            self._compute.take_time()
            if self.given_up and name in CHANGES:
                self._compute.cloud.clashes.append((name, self.uuid))
            self._check_connection()
        return member

    def set_balloon_kib(
        self, target_kib: int, *, definition: bool = False
    ) -> None:
        if self.journey is not None:
            self.journey.has_begun = True
        self._see_whose_entry_it_is('set the balloon')
        if target_kib == self.guest.memory_kib - schedule.NUDGE_KIB:
            self._compute.nudged.add(self.uuid)
        super().set_balloon_kib(target_kib, definition=definition)
        if target_kib == self.guest.memory_kib:
            self._compute.nudged.discard(self.uuid)

    def steer_balloon_kib(self, target_kib: int) -> None:
        if self.journey is not None:
            self.journey.has_begun = True
        super().steer_balloon_kib(target_kib)
        self._compute.nudged.discard(self.uuid)

    def read_metadata(self) -> str | None:
        self._seen_entries.append(super().read_metadata())
        return self._seen_entries[-1]

    def write_metadata(self, element: str) -> None:
        super().write_metadata(element)
        if self.journey is not None:
            self.journey.entry = element

    def erase_metadata(self) -> None:
        self._see_whose_entry_it_is('erase the entry')
        super().erase_metadata()
        cloud = self._compute.cloud
        cloud.erased_at[self.uuid] = cloud.clock.now()

    def _see_whose_entry_it_is(self, doing: str) -> None:
        """See that a command does nothing about what it is not to restore.

        That is an entry of a migration that has not begun to release, or has
        begun since the command did.
        """
        journey = self._compute.cloud.moving.get(self.uuid)
        if (
            self._compute.is_command
            and journey is not None
            and journey.compute.alive
            and journey.entry is not None
            and journey.entry == self._seen_entries[-1] == self.guest.metadata
            and not (
                journey.has_begun and journey.entry == self._seen_entries[0]
            )
        ):
            self._compute.cloud.clashes.append((doing, self.uuid))

    def _wait_for_the_job(self) -> None:
        """Wait until a transfer has ended, as libvirt does, or for too long.

        The call goes on then, whatever has changed meanwhile, and whether the
        process that made it is still there or not.
        """
        self._wait_for_qemu()
        for _time in range(JOB_WAIT_SECONDS):
            if self.guest.transferred_kib is None:
                break
            self.guest.clock.wait(1)
        self.guest.check()
        self._check_connection()
        if self.guest.transferred_kib is not None:
            raise fakes.libvirt_error(
                exceptions.DomainBusy, 'a job is under way'
            )
        if self.guest.host != self.host:
            raise fakes.libvirt_error(exceptions.DomainGone, 'no domain')

    def _check_connection(self) -> None:
        if self._libvirtd != self._compute.cloud.libvirtds[self.host]:
            raise fakes.libvirt_error(
                exceptions.LibvirtError, 'client socket is closed'
            )


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

    It stands for the host as well, as the process sees it.

    :ivar call_seconds: how long each of its calls of libvirt's takes
    :ivar checked_at: when each guest was looked up
    :ivar is_command: whether it is one that operators run
    :ivar nudged: the guests of which it has requested a little less, and not
                  yet all
    :ivar held: the guests that are a migration's
    """

    def __init__(
        self,
        cloud: 'Interleavings',
        host: str,
        call_seconds: float = 0.0,
        *,
        is_command: bool = False,
    ) -> None:
        self.cloud = cloud
        self.host = host
        self.call_seconds = call_seconds
        self.is_command = is_command
        self.nudged: set[str] = set()
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

    def take_time(self) -> None:
        self.check_alive()
        if self.call_seconds:
            self.cloud.clock.wait(self.call_seconds)
            self.check_alive()

    @contextlib.contextmanager
    def lend(self) -> Iterator['Compute']:
        self.check_alive()
        yield self

    def name(self) -> str:
        return self.host

    def journal_entries(self) -> dict[str, str]:
        self.take_time()
        return {
            guest.uuid: guest.metadata
            for guest in self.cloud.guests.values()
            if guest.host == self.host and guest.metadata is not None
        }

    def guest(self, uuid: str) -> Handle:
        """Look a guest up; the reconciler does for each step."""
        self.take_time()
        if uuid in self.held:
            self.cloud.clashes.append(('looked up', uuid))
        self.checked_at.setdefault(uuid, []).append(self.cloud.clock.now())
        if self.cloud.guests[uuid].host != self.host:
            raise fakes.libvirt_error(exceptions.DomainGone, 'no domain')
        return Handle(self, self.cloud.guests[uuid])


@dataclasses.dataclass(eq=False)
class Journey:
    """What a migration is going to be.

    :ivar compute: the nova-compute at its source
    :ivar lands: whether the guest leaves
    :ivar copies_disks: whether its disks leave before its memory
    :ivar is_told: whether the destination hears of the landing
    :ivar mode: when memory is released
    :ivar request: what the operator asks of it after two seconds
    :ivar transfer_seconds: how long memory is sent
    :ivar gap_seconds: from the end of what is before the transfer to
                       libvirt's job
    :ivar is_transferring: whether that has ended
    :ivar entry: what it has written
    :ivar has_begun: whether it has begun to release
    """

    compute: Compute
    lands: bool
    copies_disks: bool
    is_told: bool
    mode: str
    request: Request | None
    transfer_seconds: float
    gap_seconds: float
    is_transferring: bool = False
    entry: str | None = None
    has_begun: bool = False


class WatchedGuest(fakes.SimulatedGuest):
    """A guest that is looked at whenever somebody does something.

    :ivar look: looks at it
    """

    look: Callable[[], None]

    def check(self) -> None:
        super().check()
        if hasattr(self, 'look'):
            self.look()


class Interleavings(stateful.RuleBasedStateMachine):
    """What can happen, and what must never be.

    :ivar moving: the migrations under way
    :ivar commands: the commands that run, or did
    :ivar by_hand: the guests that operators restore with virsh
    :ivar hindrances: how often a guest was kept from taking its memory
    :ivar erased_at: when the last entry of each guest was erased
    :ivar unwritten: guests that have landed without the entry of a release,
                     which something erased when their transfer began
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = fakes.FakeClock()
        self._stand_ins = contextlib.ExitStack()
        # No autospec: that takes longer than all the rest.
        for module, name, stand_in in (
            (threading, 'Thread', self.thread),
            (clocks, 'Clock', lambda: self.clock),
        ):
            self._stand_ins.enter_context(
                mock.patch.object(module, name, stand_in)
            )
        for stream in (
            contextlib.redirect_stdout,
            contextlib.redirect_stderr,
        ):
            self._stand_ins.enter_context(stream(io.StringIO()))
        self.guests = {}
        for uuid in ('one', 'other'):
            guest = WatchedGuest(self.clock)
            guest.uuid = uuid
            guest.look = functools.partial(self.look_at, guest)
            self.guests[uuid] = guest
        self.libvirtds = {'source': 0, 'dest': 0}
        self.moving: dict[str, Journey] = {}
        self.commands: list[Compute] = []
        self.by_hand: list[str] = []
        self.hindrances = 0
        self.erased_at = dict.fromkeys(self.guests, -math.inf)
        self.snapshots: dict[str, tuple[int, int]] = {}
        # Their assertions would be one more error that nova-compute survives.
        self.clashes: list[tuple[str, str]] = []
        self.unwritten: set[str] = set()
        self._awaited: list[
            tuple[str, Callable[[Any], bool], threading.Event]
        ] = []
        self.reporter, paths = migrate_base.make_stand_ins()
        paths.to.return_value = bandwidths.Bandwidth.of_mbps(
            1000, bandwidths.Origin.CONFIGURED
        )
        self.engine = migrate_base.World().engine
        self.computes = {
            host: Compute(self, host) for host in ('source', 'dest')
        }
        for compute in self.computes.values():
            compute.reconciler.start()

    def teardown(self) -> None:
        try:
            self.calm_down()
        finally:
            self._stand_ins.close()

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
        journey=strategies.fixed_dictionaries(JOURNEYS),
        wait=SECONDS,
    )
    def migrate(self, uuid: str, journey: dict[str, Any], wait: float) -> None:
        guest = self.guests[uuid]
        if uuid not in self.moving and guest.running and guest.persistent:
            if not guest.missing_kib:  # it has used all, and freed it again
                guest.touched_kib = guest.free_kib
            self.moving[uuid] = Journey(self.computes[guest.host], **journey)
            self.begin(self._migrate, uuid, self.moving[uuid])
        self.clock.wait(wait)

    def _migrate(self, uuid: str, journey: Journey) -> None:
        guest = self.guests[uuid]
        compute = journey.compute
        dest = 'dest' if compute.host == 'source' else 'source'
        try:
            with compute.reconciler.hold(uuid, LOCK_WAIT_SECONDS) as hold:
                if hold is None:
                    return
                handle = compute.guest(uuid)
                handle.journey = journey
                compute.held.add(uuid)

                def give_up(known: journal.JournalEntry | None) -> bool:
                    compute.held.discard(uuid)
                    handle.given_up = True
                    before = self.hindrances
                    hindered = self.is_hindered(guest)
                    is_done = hold.restore(self.reporter, known)
                    hindered |= self.hindrances > before
                    if not (is_done or hindered or self.is_hindered(guest)):
                        self.clashes.append(('waited for', uuid))
                    return is_done

                migration = source.SourceMigration(
                    handle,
                    self.engine.for_guest(
                        fakes.make_policy(mode=journey.mode)
                    ),
                    self.reporter,
                    decision.Migration(
                        uuid=MIGRATION,
                        host=compute.host,
                        dest=dest,
                        node=compute.host,
                        copies_disks=journey.copies_disks,
                    ),
                    self.clock,
                    give_up,
                )
                if journey.request is not None:
                    self.clock.after(
                        2,
                        lambda: migration.requests.submit(journey.request),
                    )
                try:
                    state = migration.prepare()
                    if isinstance(state, states.Cancelled):
                        return
                    journey.is_transferring = True
                    with migration.transfer(state):
                        self.clock.wait(journey.gap_seconds)
                        compute.check_alive()
                        self._transfer(guest, journey)
                        if journey.lands:
                            self._land_at(dest, guest, journey)
                finally:
                    migration.restore()
                    compute.held.discard(uuid)
        finally:
            del self.moving[uuid]

    def is_hindered(self, guest: fakes.SimulatedGuest) -> bool:
        """:returns: whether it may not get its memory within seconds."""
        answers = self.guests['one'].answers
        return (
            guest.deflates_up_to_kib < guest.memory_kib
            or guest.metadata == SPOILT
            or not guest.running
            or not self.computes[guest.host].alive
            or (answers is not None and not answers.is_set())
        )

    def _transfer(self, guest: fakes.SimulatedGuest, journey: Journey) -> None:
        """Be libvirt, which goes on whether nova-compute is there or not."""
        guest.check()
        guest.transferred_kib = 0.0
        if journey.copies_disks:
            guest.disks_copied_at_seconds = self.clock.now() + 5
            self.clock.wait(5)
            guest.disks_copied_at_seconds = None
        guest.transferred_kib = 4.0
        self.clock.wait(journey.transfer_seconds)
        guest.check()
        guest.transferred_kib = None

    def _land_at(
        self, dest: str, guest: fakes.SimulatedGuest, journey: Journey
    ) -> None:
        guest.host = dest
        # libvirt makes the definition there of what the guest is.
        guest.definition_kib = guest.actual_kib
        guest.definition_stats_period_seconds = guest.stats_period_seconds
        if guest.metadata is None and guest.target_kib == guest.memory_kib:
            self.unwritten.add(guest.uuid)
        if journey.is_told:
            compute = self.computes[dest]
            compute.reconciler.notify(guest.uuid)
            if journey.compute.alive:
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

    @stateful.rule(uuid=GUESTS)
    def nova_loses_the_entry(self, uuid: str) -> None:
        """Have the domain defined anew.

        Only the migration that wrote the entry knows it, until the transfer
        begins or, of a guest that does not leave, until its end.
        """
        guest = self.guests[uuid]
        guest.check()
        journey = self.moving.get(uuid)
        if (
            journey is not None
            and journey.compute.alive
            and (not journey.lands or not journey.is_transferring)
            and guest.metadata is not None
            and f'migration="{MIGRATION}"' in guest.metadata
        ):
            guest.metadata = None

    # What operators do.

    @stateful.rule(
        uuid=GUESTS,
        everybody=strategies.booleans(),
        call_seconds=COMMAND_CALL_SECONDS,
        wait=SECONDS,
    )
    def command_restore(
        self, uuid: str, everybody: bool, call_seconds: float, wait: float
    ) -> None:
        self.begin_command(
            restore.Restore,
            self.guests[uuid].host,
            call_seconds,
            all=everybody,
            server=[] if everybody else [uuid],
        )
        self.clock.wait(wait)

    @stateful.rule(
        uuid=GUESTS,
        memory_mib=strategies.sampled_from([None, 4096]),
        call_seconds=COMMAND_CALL_SECONDS,
        wait=SECONDS,
    )
    def command_repair(
        self,
        uuid: str,
        memory_mib: int | None,
        call_seconds: float,
        wait: float,
    ) -> None:
        self.begin_command(
            repair.Repair,
            self.guests[uuid].host,
            call_seconds,
            server=uuid,
            memory_mib=memory_mib,
            stats_period_seconds=PERIOD_SECONDS,
        )
        self.clock.wait(wait)

    def begin_command(
        self,
        command: type[restore.Restore | repair.Repair],
        host: str,
        call_seconds: float,
        **arguments: Any,
    ) -> None:
        process = Compute(self, host, call_seconds, is_command=True)
        self.commands.append(process)
        one = command(None, None)
        one.here = mock.Mock(compute_host.ComputeHost, host=process)
        self.begin(
            cli_base.Command.run,
            one,
            argparse.Namespace(wait_seconds=COMMAND_SECONDS, **arguments),
        )

    @stateful.rule()
    def the_operator_interrupts_commands(self) -> None:
        for process in self.commands:
            process.alive = False

    @stateful.rule(uuid=GUESTS)
    def virsh_spoils_the_entry(self, uuid: str) -> None:
        guest = self.guests[uuid]
        if guest.metadata is not None and guest.transferred_kib is None:
            guest.metadata = SPOILT
            self.hindrances += 1

    @stateful.rule(
        uuid=GUESTS,
        thinks_seconds=strategies.sampled_from([0.0, 0.3, 2.0, 10.0]),
        wait=SECONDS,
    )
    def virsh_restores_and_erases_the_entry(
        self, uuid: str, thinks_seconds: float, wait: float
    ) -> None:
        process = Compute(self, self.guests[uuid].host, thinks_seconds)
        self.commands.append(process)
        self.begin(self._restore_by_hand, process, uuid)
        self.clock.wait(wait)

    def _restore_by_hand(self, virsh: Compute, uuid: str) -> None:
        """Do what the operations guide says."""
        self.by_hand.append(uuid)
        try:
            self._do_by_hand(virsh, uuid)
        finally:
            self.by_hand.remove(uuid)

    def _do_by_hand(self, virsh: Compute, uuid: str) -> None:
        with contextlib.suppress(exceptions.FreememError):
            guest = virsh.guest(uuid)
            if guest.read_metadata() is None:
                return
            guest.set_balloon_kib(4 * GIB, definition=True)
            guest.set_stats_period_seconds(PERIOD_SECONDS, definition=True)
            deadline = clocks.Deadline(self.clock, COMMAND_SECONDS)
            while not deadline.passed():
                stats = guest.memory_stats()
                if stats is not None and stats.actual_kib == 4 * GIB:
                    guest.erase_metadata()
                    return
                self.clock.wait(1)

    @stateful.rule(uuid=GUESTS, running=strategies.booleans())
    def pause_or_resume(self, uuid: str, running: bool) -> None:
        guest = self.guests[uuid]
        guest.check()
        guest.running = running
        self.hindrances += not running
        self.computes[guest.host].reconciler.notify(uuid)

    @stateful.rule(uuid=GUESTS)
    def it_arrives_from_a_third_host(self, uuid: str) -> None:
        """Have memory outstanding, and nobody told of it.

        It has left this host before, which takes its time, and no operator
        has begun to restore it by hand then.
        """
        guest = self.guests[uuid]
        if (
            uuid not in self.moving
            and uuid not in self.by_hand
            and self.clock.now() - self.erased_at[uuid] >= AWAY_SECONDS
            and guest.persistent
            and guest.metadata is None
        ):
            guest.check()
            if guest.missing_kib:
                return
            guest.metadata = fakes.make_entry(
                source='x',
                released_at=datetime.datetime.fromtimestamp(
                    self.clock.wall(), datetime.UTC
                ),
            ).to_xml()
            guest.actual_kib = guest.target_kib = 1 * GIB
            guest.definition_kib = 1 * GIB
            guest.touched_kib = 0

    # What fails.

    @stateful.rule(host=HOSTS, call_seconds=CALL_SECONDS)
    def libvirtd_gets_slow_or_fast(
        self, host: str, call_seconds: float
    ) -> None:
        self.computes[host].call_seconds = call_seconds

    @stateful.rule(host=HOSTS)
    def libvirtd_is_restarted(self, host: str) -> None:
        self.libvirtds[host] += 1

    @stateful.rule(host=HOSTS)
    def nova_compute_is_killed_and_started(self, host: str) -> None:
        for guest in self.guests.values():
            guest.check()
            if guest.host == host and (
                self.is_unwritten(guest)
                or (
                    guest.metadata is None
                    and guest.stats_period_seconds != PERIOD_SECONDS
                )
            ):
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
        self.hindrances += not able

    @stateful.rule()
    def qemu_hangs(self) -> None:
        guest = self.guests['one']
        if guest.answers is None or guest.answers.is_set():
            guest.check()
            guest.answers, guest.is_asked = threading.Event(), False
            self.hindrances += 1

    @stateful.rule()
    def qemu_answers(self) -> None:
        if self.guests['one'].answers is not None:
            self.guests['one'].answers.set()

    @stateful.rule(wait=SECONDS)
    def time_passes(self, wait: float) -> None:
        self.clock.wait(wait)

    # What must never be.

    def is_unwritten(self, guest: fakes.SimulatedGuest) -> bool:
        """:returns: whether memory is outstanding, and no entry says so."""
        return guest.metadata is None and (
            guest.missing_kib > TOLERANCE_KIB
            or guest.target_kib < guest.memory_kib
        )

    def look_at(self, guest: WatchedGuest) -> None:
        """See what must hold whenever somebody does something."""
        for uuid, has_come, come in self._awaited:
            if uuid == guest.uuid and has_come(guest):
                come.set()
        if guest.available_kib < self.engine.policy.headroom_kib(
            guest.memory_kib
        ):
            self.clashes.append(('below its headroom', guest.uuid))
        if not self.is_unwritten(guest):
            return
        journey = self.moving.get(guest.uuid)
        compute = self.computes[guest.host]
        state = compute.reconciler.remembered().get(guest.uuid)
        is_known = (
            (
                guest.uuid in self.unwritten
                and guest.target_kib == guest.memory_kib
            )
            or (journey is not None and journey.compute.alive)
            or (state is not None and state.known is not None)
            or any(
                one.alive and guest.uuid in one.nudged
                for one in (compute, *self.commands)
            )
        )
        if not is_known:
            self.clashes.append(('not in the journal', guest.uuid))

    @stateful.invariant()
    def memory_is_never_missing_without_an_entry(self) -> None:
        """At most a process that lives knows, or QEMU restores it."""
        for guest in self.guests.values():
            guest.check()

    @stateful.invariant()
    def no_guest_is_checked_more_than_ten_times_a_second(self) -> None:
        for compute in self.computes.values():
            for times in compute.checked_at.values():
                for at, later in zip(times, times[15:], strict=False):
                    assert later - at >= 1.0, times

    @stateful.invariant()
    def nobody_got_in_the_way_of_another(self) -> None:
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
        self.see_that_all_is_well()

    def wait_for(
        self, uuid: str, has_come: Callable[[Any], bool], wait_seconds: float
    ) -> None:
        """Wait until somebody does something that makes a condition true."""
        come = threading.Event()
        self._awaited.append((uuid, has_come, come))
        self.clock.wait(wait_seconds, until=come)

    def see_that_all_is_well(self) -> None:
        self.memory_is_never_missing_without_an_entry()
        self.no_guest_is_checked_more_than_ten_times_a_second()
        self.nobody_got_in_the_way_of_another()
        self.nothing_of_ours_has_failed()

    def repair(self, uuid: str) -> None:
        """Do what the log asks for."""
        if self.guests[uuid].metadata == SPOILT:
            self.command_repair(uuid, None, 0.0, 0.0)

    def assert_whole(self, uuid: str) -> None:
        guest = self.guests[uuid]
        guest.check()
        assert guest.metadata is None
        assert guest.actual_kib == guest.target_kib == guest.memory_kib, guest
        if uuid in self.unwritten:  # See the troubleshooting guide.
            guest.definition_kib = guest.memory_kib
            guest.stats_period_seconds = 10
            self.unwritten.discard(uuid)
        # It may have landed with a little less than all.
        assert guest.definition_kib >= guest.memory_kib - TOLERANCE_KIB, guest
        assert guest.stats_period_seconds == PERIOD_SECONDS


InterleavingsTest = Interleavings.TestCase
InterleavingsTest.settings = hypothesis.settings(
    max_examples=60, stateful_step_count=40
)


#: When a writer begins, after the one before it, by what the guest is then.
MOMENTS: dict[str, Callable[[fakes.SimulatedGuest], bool]] = {
    'at once': lambda _guest: True,
    'when an entry is there': lambda guest: guest.metadata is not None,
    'when no entry is there': lambda guest: guest.metadata is None,
    'when memory is missing': lambda guest: guest.missing_kib > 0,
    'when no memory is missing': lambda guest: guest.missing_kib == 0,
    'when it is transferred': lambda guest: guest.transferred_kib is not None,
}
WRITERS = ('source', 'destination', 'restore', 'repair', 'virsh', 'nova')
LONGEST_SECONDS = 12


class MeetingTest(base.TestCase):
    """Two or three writers, of one guest, begin one after the other.

    The reconcilers are always there.
    """

    @hypothesis.given(
        first=strategies.sampled_from(WRITERS[:2]),
        others=strategies.lists(
            strategies.tuples(
                strategies.sampled_from(WRITERS),
                strategies.sampled_from(sorted(MOMENTS)),
                strategies.floats(0, 0.3) | strategies.floats(0, 6),
                COMMAND_CALL_SECONDS,
            ),
            min_size=1,
            max_size=2,
        ),
        journey=strategies.fixed_dictionaries(JOURNEYS),
        call_seconds=CALL_SECONDS,
        short_kib=strategies.sampled_from([0, 4, 1028, 2048, GIB]),
        short_seconds=strategies.floats(0, LONGEST_SECONDS),
    )
    @hypothesis.settings(max_examples=300)
    def test_all_is_well_in_the_end(
        self,
        first: str,
        others: list[tuple[str, str, float, float]],
        journey: dict[str, Any],
        call_seconds: float,
        short_kib: int,
        short_seconds: float,
    ) -> None:
        world = Interleavings()
        guest = world.guests['one']
        guest.deflates_up_to_kib = 4 * GIB - short_kib
        world.clock.after(
            short_seconds,
            lambda: world.balloon_driver_stops_or_goes_on('one', True),
        )
        for compute in world.computes.values():
            compute.call_seconds = call_seconds
        try:
            self.begin(world, first, journey, 0.0)
            for writer, moment, later_seconds, command_seconds in others:
                world.wait_for('one', MOMENTS[moment], LONGEST_SECONDS)
                world.clock.wait(later_seconds)
                self.begin(world, writer, journey, command_seconds)
                world.see_that_all_is_well()
            for _time in range(10):
                world.clock.wait(1)
                world.see_that_all_is_well()
        finally:
            world.teardown()

    def begin(
        self,
        world: Interleavings,
        writer: str,
        journey: dict[str, Any],
        command_seconds: float,
    ) -> None:
        if writer == 'source':
            world.migrate('one', journey, 0.0)
        elif writer == 'destination':
            world.it_arrives_from_a_third_host('one')
            world.begin(
                world._land, world.computes[world.guests['one'].host], 'one'
            )
        elif writer == 'restore':
            world.command_restore('one', False, command_seconds, 0.0)
        elif writer == 'repair':
            world.command_repair('one', 4096, command_seconds, 0.0)
        elif writer == 'virsh':
            world.virsh_restores_and_erases_the_entry(
                'one', command_seconds, 0.0
            )
        else:
            world.nova_loses_the_entry('one')

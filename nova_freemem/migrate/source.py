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

"""What is done for a guest that leaves this host.

Nothing in here raises into Nova: whatever fails, the migration continues as
Nova does it, and what was released is restored.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import functools
import threading

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base as acquire
from nova_freemem.migrate import disks
from nova_freemem.migrate import shutdown
from nova_freemem.migrate import transfer
from nova_freemem.migrate.engine import Engine
from nova_freemem.plan import eligibility
from nova_freemem.plan import planner
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.bandwidth import Origin
from nova_freemem.plan.disk_copy import DiskCopy
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.planner import Moment
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.traffic import Sender
from nova_freemem.plan.transfer_meter import TransferMeter
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.base import Release
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.release.watch import Watch
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import MemoryStats

# A guest got back 575 MiB in 0.3 s, emulated; what has not arrived when
# post-copy begins arrives slower, as the guest's own pages do.
POST_COPY_RESTORE_SECONDS = 2.0

# Nova's request for post-copy waits no longer than this for the guest, whose
# watch looks five times a second, and whose QEMU may not answer.
POST_COPY_WAIT_SECONDS = 3.0


@dataclasses.dataclass(frozen=True)
class Skipped:
    """Nothing is released.

    :ivar skip: why
    """

    skip: Skip


@dataclasses.dataclass(frozen=True)
class AwaitingMemory:
    """The transfer begins with disks; what is released is decided after that.

    Until then the guest keeps all it has. The journal has its entry, since
    none can be written while libvirt migrates the guest.

    :ivar ahead_seconds: how long before the end of the copy a release begins
                         at most; 0.0 for not before memory is sent
    """

    ahead_seconds: float


@dataclasses.dataclass(frozen=True)
class Releasing:
    """Memory is being released; the transfer is to start meanwhile.

    :ivar plan: what is to be released
    :ivar began_at_seconds: when the release began, monotonic
    :ivar deadline: when memory must be being sent, None for no matter
    """

    plan: Plan
    began_at_seconds: float
    deadline: clocks.Deadline | None = None


@dataclasses.dataclass(frozen=True)
class Released:
    """Memory has been released; the transfer is to start.

    :ivar plan: what was to be released; its target is what was reached
    :ivar deadline: when memory must be being sent, None for no matter
    """

    plan: Plan
    deadline: clocks.Deadline | None = None


@dataclasses.dataclass(frozen=True)
class Restored:
    """What was released has been restored; the transfer is to start."""


@dataclasses.dataclass(frozen=True)
class Cancelled:
    """The migration was aborted, or nova-compute stops: no transfer."""


# Skips that memory being sent changes nothing about.
_FINAL = (Reason.INTERRUPTED, Reason.ERROR)

State = Skipped | AwaitingMemory | Releasing | Released | Restored | Cancelled

_PHASES: dict[type[State], str] = {
    Skipped: 'nothing is released',
    AwaitingMemory: 'waiting for memory to be sent',
    Releasing: 'memory is being released',
    Released: 'memory has been released',
    Restored: 'what was released is restored',
    Cancelled: 'cancelled',
}


class SourceMigration(shutdown.Step):
    """One guest, from the request to its landing elsewhere.

    :ivar requests: where abort and force-complete arrive until the transfer
                    runs
    """

    def __init__(
        self,
        guest: guests.Guest,
        engine: Engine,
        reporter: reporters.Reporter,
        host: str,
        migration_uuid: str,
        os_type: str | None,
        clock: clocks.Clock,
        restore: Callable[[journal.JournalEntry | None], bool],
        destination_skip: Callable[[], Skip | None] = lambda: None,
        requests: Requests | None = None,
        node: str | None = None,
        copies_disks: bool = False,
    ) -> None:
        """Initialize the migration of a guest.

        :param guest: the guest
        :param engine: this host's
        :param reporter: reports on it
        :param host: this host, by the name that Nova has for it
        :param migration_uuid: of Nova's migration
        :param os_type: what the guest's image says it runs
        :param clock: for all waits
        :param restore: restores the guest, which is not touched by this
                        migration from then on; given what is known to be
                        outstanding, returns whether nothing is any more
        :param destination_skip: returns why nothing is to be released for the
                                 destination, None if it restores memory
        :param requests: where requests arrive already; None for nowhere
        :param node: this host, by the name that libvirt has for it, if known
        :param copies_disks: whether libvirt copies disks before it sends
                             memory
        """
        self.requests = requests or Requests()
        self._guest = guest
        self._engine = engine
        self._reporter = reporter
        self._host = host
        self._node = node
        self._copies_disks = copies_disks
        self._migration_uuid = migration_uuid
        self._os_type = os_type
        self._clock = clock
        self._restore = restore
        self._destination_skip = destination_skip
        self._record = journal.Record(guest)
        self._watch = Watch(engine.releaser, guest, self._record, clock)
        self._sender = Sender()
        self._release_event = contextlib.ExitStack()
        self._transfer: transfer.TransferWatch | None = None
        self._watch_ended = threading.Event()
        self._is_late = False
        self._state: State | None = None
        self._waited_seconds = 0.0
        self._has_failed = False
        self._is_shutting_down = False

    @property
    def phase(self) -> str:
        """What is done for the guest now, for people."""
        words = 'deciding what to release'
        if self._state is not None:
            words = _PHASES[type(self._state)]
        if isinstance(self._state, Skipped):
            words = f'{words} ({self._state.skip.name})'
        return words if self._transfer is None else f'{words}; transferring'

    @contextlib.contextmanager
    def sharing_the_path(self) -> Iterator[None]:
        """Have others expect that this one sends, until it has sent."""
        self._engine.bandwidths.traffic.add(self._sender, self._clock.now())
        try:
            yield
        finally:
            self._sender.end(self._clock.now())

    def prepare(self, dest: str) -> State:
        """Decide, and release what is to be released before the transfer.

        :param dest: the destination's name
        :returns: what :meth:`transfer` goes on from; an abort that arrives
                  later than this is for the transfer
        """
        deadline = clocks.Deadline(
            self._clock, self._engine.policy.deadline_seconds
        )
        state = self._decide_and_release(dest, deadline)
        request = self.requests.latest
        if request is Request.ABORT or (
            # Where nothing was released, it is Nova's migration alone.
            request is Request.SHUTDOWN
            and not isinstance(state, Skipped | AwaitingMemory)
        ):
            self._abandon()
            self._flush()
            state = Cancelled()
        self._state = state
        return state

    @contextlib.contextmanager
    def transfer(self, dest: str, state: State) -> Iterator[None]:
        """Watch the guest while Nova transfers it.

        :param dest: the destination's name
        :param state: what :meth:`prepare` returned
        """
        rates = self._engine.release_rates
        meter = TransferMeter(
            rates.of(self._guest.uuid, self._clock.now()).look_kib_per_second
        )
        tasks: list[transfer.Task] = [
            functools.partial(
                transfer.measure,
                self._guest,
                dest,
                meter,
                self._sender,
                self._engine.bandwidths,
                rates,
                self._clock,
            )
        ]
        if isinstance(state, Skipped):
            self._reporter.skipped(state.skip)
        if isinstance(state, AwaitingMemory | Releasing | Released):
            tasks.append(
                functools.partial(self._watch_transfer, dest, state, meter)
            )
        else:
            self._watch_ended.set()
        self._transfer = transfer.TransferWatch(tasks)
        try:
            self._transfer.start()
        except RuntimeError as error:
            self._reporter.error('Starting a thread', error)
            self._watch_ended.set()
            self._abandon()
        if self._is_shutting_down:
            self._transfer.submit(Request.SHUTDOWN)
        try:
            yield
        except BaseException:
            self._has_failed = True
            raise
        finally:
            self._transfer.stop()
            self._reporter.transferred(
                self._waited_seconds, not self._has_failed
            )

    def restore_for_post_copy(self) -> None:
        """Restore what is out, and wait a little until it has arrived.

        In post-copy QEMU drops what a balloon inflates, and libvirt's calls
        about the guest's memory at the destination wait until it has ended,
        QEMU's monitor included (measured with libvirt 11.3 and QEMU 10.0: 25
        of 25 s). A target that QEMU has before it takes along, and the balloon
        goes on deflating at the destination.

        Where nothing is released, or it is asked again, nothing is waited for.
        """
        if self._transfer is None:
            return
        self._transfer.submit(Request.POST_COPY)
        self._clock.wait(POST_COPY_WAIT_SECONDS, until=self._watch_ended)

    def shut_down(self) -> None:
        """See :meth:`nova_freemem.migrate.shutdown.Step.shut_down`.

        Before the transfer, the migration is cancelled if anything was
        released for it; during the transfer, all memory of the guest is
        restored, and libvirt continues the transfer.
        """
        self._is_shutting_down = True
        self.requests.submit(Request.SHUTDOWN)
        if self._transfer is not None:
            self._transfer.submit(Request.SHUTDOWN)

    def is_settled(self) -> bool:
        """See :meth:`nova_freemem.migrate.shutdown.Step.is_settled`."""
        return self._transfer is not None and self._transfer.is_unwatched()

    def restore(self) -> None:
        """Have restored, here, what is outstanding.

        Does nothing where nothing is, the guest has left, or it is late and
        restored by and by. What this migration released is known to it, and
        is restored as well where the journal has lost it.
        """
        if self._transfer is not None:
            self._transfer.stop()
        if not self._is_late and self._may_be_outstanding():
            self._is_late = not self._restore(self._record.entry)
            self._record.forget()

    def _may_be_outstanding(self) -> bool:
        """Return whether there is anything to restore here, or may be."""
        try:
            return (
                self._record.entry is not None
                or self._guest.read_metadata() is not None
            )
        except exceptions.DomainGone:
            return False
        except Exception:
            return True

    def fail(self) -> None:
        """Restore what is outstanding, with its events shown by then.

        Nova rolls back after this, and calls the migration failed.
        """
        self._has_failed = True
        self.restore()
        self._flush()

    def _decide_and_release(
        self, dest: str, deadline: clocks.Deadline
    ) -> State:
        try:
            decision = self._decide(dest, deadline)
            if isinstance(decision, Skip):
                return Skipped(decision)
            self._guest.need_no_job()
            self._write_journal(decision.original_kib)
            if isinstance(decision, Eligible):
                self._watch.make_ready()
                self._record.keep()
                return AwaitingMemory(self._engine.policy.deadline_seconds)
        except exceptions.DomainBusy as error:
            return Skipped(Skip(Reason.DOMAIN_BUSY, str(error)))
        except Exception as error:
            self._reporter.error('Deciding what to release', error)
            self._abandon()
            return Skipped(Skip(Reason.ERROR))
        began_at_seconds = self._clock.now()
        try:
            return self._release(
                decision, deadline, functools.partial(self._bandwidth, dest)
            )
        except exceptions.DomainBusy as error:
            # It waited for 30 s, and so would restoring: the guest is watched
            # during the transfer, by calls that do not wait for a job.
            self._reporter.error('Releasing memory', error)
            return Releasing(decision, began_at_seconds)
        except Exception as error:
            self._reporter.error('Releasing memory', error)
            self._abandon()
            return Restored()

    def _decide(
        self, dest: str, deadline: clocks.Deadline
    ) -> Plan | Eligible | Skip:
        """Decide what is released.

        :returns: the guest where that is decided once disks are copied
        """
        if not self._engine.policy.enabled:
            return Skip(Reason.DISABLED_BY_HOST)
        if dest == self._host:
            return Skip(Reason.SAME_HOST)
        if self._guest.read_metadata() is not None:
            return Skip(Reason.OUTSTANDING_MEMORY)
        remaining_seconds = self._engine.backoff.remaining_seconds(
            self._guest.uuid, self._clock.now()
        )
        if remaining_seconds:
            return Skip(
                Reason.BACKING_OFF, f'for {remaining_seconds:.0f} s more'
            )
        guest = self._examine()
        if isinstance(guest, Skip):
            return guest
        self._guest.need_no_job()
        stats = self._report()
        if isinstance(stats, Skip):
            return stats
        bandwidth = self._bandwidth(dest)
        if not self._copies_disks:
            hopeless = planner.cannot_pay(
                stats, guest, self._engine.policy, bandwidth
            )
            if hopeless is not None:
                return hopeless
        # Placement takes longer than all of the above, and is asked only where
        # there may be something to gain.
        not_ready = self._destination_skip()
        if not_ready is not None:
            return not_ready
        if self._copies_disks:
            return guest
        return self._plan(
            guest, stats, bandwidth, deadline, Moment.BEFORE_TRANSFER
        )

    def _decide_during(
        self, dest: str, moment: Moment, requests: Requests
    ) -> Plan | Skip:
        """Decide, while the transfer runs, what is released."""
        if requests.latest is not None:
            return Skip(Reason.INTERRUPTED, requests.latest.value)
        guest = self._examine()
        if isinstance(guest, Skip):
            return guest
        stats = self._report()
        if isinstance(stats, Skip):
            return stats
        bandwidth = self._bandwidth(dest)
        hopeless = planner.cannot_pay(
            stats, guest, self._engine.policy, bandwidth
        )
        if hopeless is not None:
            return hopeless
        plan = self._plan(
            guest,
            stats,
            bandwidth,
            clocks.Deadline(self._clock, self._engine.policy.deadline_seconds),
            moment,
        )
        if requests.latest is not None:
            return Skip(Reason.INTERRUPTED, requests.latest.value)
        return plan

    def _examine(self) -> Eligible | Skip:
        return eligibility.examine(
            self._guest.is_running(),
            self._guest.xml(),
            self._guest.memory_stats(),
            self._os_type,
        )

    def _report(self) -> MemoryStats | Skip:
        """Return what the balloon driver reports when it is asked."""
        stats = self._guest.fresh_memory_stats(self._clock)
        if stats is None:
            return Skip(Reason.NO_BALLOON_DRIVER)
        return eligibility.unwatchable(stats) or stats

    def _plan(
        self,
        guest: Eligible,
        stats: MemoryStats,
        bandwidth: Bandwidth,
        deadline: clocks.Deadline,
        moment: Moment,
    ) -> Plan | Skip:
        """Acquire, and plan a release."""
        try:
            memory = acquire.acquire_from(
                self._engine.sources,
                self._guest,
                guest.original_kib,
                stats,
                self._clock,
                deadline,
            )
        except exceptions.SourceUnavailable as error:
            return Skip(Reason.NO_SOURCE, str(error))
        if self.requests.latest is not None:
            return Skip(Reason.INTERRUPTED, self.requests.latest.value)
        return planner.make(
            memory,
            guest,
            self._engine.policy,
            bandwidth,
            self._engine.release_rates.of(self._guest.uuid, self._clock.now()),
            moment,
        )

    def _bandwidth(self, dest: str) -> Bandwidth:
        """Return what this migration can expect, beside those of now."""
        bandwidths = self._engine.bandwidths
        return bandwidths.to(
            dest, self._clock.now(), bandwidths.traffic.beside(self._sender)
        )

    def _write_journal(self, original_kib: int) -> None:
        self._record.write(
            journal.JournalEntry(
                original_kib=original_kib,
                source=self._host,
                released_at=datetime.datetime.fromtimestamp(
                    self._clock.wall(), datetime.UTC
                ),
                migration=self._migration_uuid,
                stats_period_seconds=domain_xml.stats_period_seconds(
                    self._guest.xml()
                ),
                node=self._node,
            )
        )

    def _release(
        self,
        plan: Plan,
        deadline: clocks.Deadline,
        bandwidth: Callable[[], Bandwidth],
    ) -> State:
        releasing = self._start_release(plan, Phase.BEFORE_TRANSFER)
        state: State = releasing
        if plan.mode is not Mode.DURING:
            release = self._watch.until_end(
                plan,
                Phase.BEFORE_TRANSFER,
                self.requests,
                deadline,
                bandwidth=bandwidth,
            )
            self._waited_seconds = (
                self._clock.now() - releasing.began_at_seconds
            )
            self._learn_rate(plan, release)
            state = self._state_after(releasing, release)
        if isinstance(state, Restored):
            self.restore()
        else:
            self._record.keep()  # it leaves with the guest
        return state

    def _start_release(self, plan: Plan, phase: Phase) -> Releasing:
        self._release_event.enter_context(self._reporter.releasing(plan))
        releasing = self._state = Releasing(plan, self._clock.now())
        self._watch.start(plan, phase)
        if plan.is_trial:
            self._engine.release_rates.note_trial(
                self._guest.uuid, self._clock.now()
            )
        return releasing

    def _learn_rate(self, plan: Plan, release: Release) -> None:
        rates = self._engine.release_rates
        learn = rates.learn_during if plan.mode is Mode.DURING else rates.learn
        free_kib = min(release.released_kib, plan.free_kib)
        learn(
            self._guest.uuid,
            free_kib,
            release.released_kib - free_kib,
            release.seconds,
            self._clock.now(),
        )

    def _state_after(self, state: Releasing, release: Release) -> State:
        """Report the end of a release, and return what the state is now."""
        if release.end is EndReason.NEARLY_DONE:
            return state
        self._reporter.released(
            state.plan,
            dataclasses.replace(
                release, seconds=self._clock.now() - state.began_at_seconds
            ),
        )
        self._release_event.close()
        if release.end is EndReason.PRESSURE:
            self._back_off()
        if release.end.restores:
            return Restored()
        return Released(
            dataclasses.replace(state.plan, target_kib=release.target_kib),
            state.deadline,
        )

    def _watch_transfer(
        self,
        dest: str,
        state: AwaitingMemory | Releasing | Released,
        meter: TransferMeter,
        requests: Requests,
    ) -> None:
        """See, during the transfer, that the guest can do without."""
        now: State | None = state
        try:
            while now is not None:
                self._state = now
                if isinstance(now, AwaitingMemory):
                    now = self._await_memory(dest, now, requests)
                elif isinstance(now, Releasing):
                    now = self._release_during(now, meter, requests)
                elif isinstance(now, Released):
                    now = self._hold(now, requests)
                else:
                    now = None
        except exceptions.DomainGone:
            return  # it was transferred at that moment
        except Exception as error:
            self._reporter.error('Watching the guest', error)
            with contextlib.suppress(exceptions.FreememError):
                self._restore_during()
        finally:
            self._watch_ended.set()
            self._release_event.close()

    def _await_memory(
        self, dest: str, state: AwaitingMemory, requests: Requests
    ) -> State:
        """Wait until memory is sent, or is about to be; decide, and begin."""
        copy = DiskCopy()
        deadline = None
        try:
            disks.wait_for_memory(
                self._guest,
                copy,
                self._release_seconds,
                state.ahead_seconds,
                self._clock,
                requests,
            )
            moment = Moment.SENDING_MEMORY
            if not copy.is_over:
                moment = Moment.COPYING_DISKS
                deadline = disks.MemoryDeadline(
                    self._guest,
                    self._clock,
                    self._engine.policy.deadline_seconds,
                )
            decision = self._decide_during(dest, moment, requests)
        except (exceptions.DomainGone, exceptions.OperationInvalid):
            decision = Skip(Reason.INTERRUPTED, Request.TRANSFER_ENDED.value)
        except Exception as error:
            self._reporter.error('Deciding what to release', error)
            decision = Skip(Reason.ERROR)
        if isinstance(decision, Plan):
            releasing = self._start_release(decision, Phase.DURING_TRANSFER)
            return dataclasses.replace(releasing, deadline=deadline)
        if deadline is not None and decision.reason not in _FINAL:
            # The guest may have more to spare when its memory is sent.
            return AwaitingMemory(0.0)
        self._reporter.skipped(decision)
        return Skipped(decision)

    def _release_seconds(self) -> float:
        """Forecast how long a release would take now."""
        guest = self._examine()
        if isinstance(guest, Skip):
            return 0.0
        return planner.release_seconds(
            self._guest.memory_stats(),
            guest,
            self._engine.policy,
            self._engine.release_rates.of(self._guest.uuid, self._clock.now()),
        )

    def _release_during(
        self, state: Releasing, meter: TransferMeter, requests: Requests
    ) -> State | None:
        """Watch a release until its end."""
        release = self._watch.until_end(
            state.plan,
            Phase.DURING_TRANSFER,
            requests,
            state.deadline,
            meter,
        )
        state = dataclasses.replace(state, plan=_as_seen(state.plan, meter))
        # Throttled, it tells nothing of how fast the guest is.
        if state.plan.mode is Mode.DURING and not meter.throttled:
            self._learn_rate(state.plan, release)
        following = self._state_after(state, release)
        if release.end is EndReason.POST_COPY:
            self._watch.until_restored(state.plan, POST_COPY_RESTORE_SECONDS)
        return following

    def _hold(self, state: Released, requests: Requests) -> State | None:
        """Watch a guest after its release."""
        plan = state.plan
        end = self._watch.hold(plan, requests, state.deadline)
        if end is EndReason.PRESSURE:
            self._back_off()
        if end.restores:
            self._reporter.restored_during_transfer(plan, end)
        if end is EndReason.COPYING_DISKS:
            return AwaitingMemory(0.0)
        if end is EndReason.POST_COPY:
            self._watch.until_restored(plan, POST_COPY_RESTORE_SECONDS)
        return None

    def _restore_during(self) -> None:
        """Restore, during the transfer, what may have been released."""
        if self._record.entry is not None:
            self._watch.restore(self._record.entry.original_kib)

    def _back_off(self) -> None:
        self._engine.backoff.add(self._guest.uuid, self._clock.now())

    def _flush(self) -> None:
        """Wait for the events, unless the guest was waited for in vain."""
        if not self._is_late:
            self._reporter.flush()

    def _abandon(self) -> None:
        self.restore()
        self._release_event.close()


def _as_seen(plan: Plan, meter: TransferMeter) -> Plan:
    """Return a plan with the bandwidth that its transfer is seen to get."""
    sending = meter.sending()
    if sending is None:
        return plan
    return dataclasses.replace(
        plan, bandwidth=Bandwidth(sending.kib_per_second, Origin.SEEN)
    )

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
import datetime
import functools
import threading

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.migrate import shutdown
from nova_freemem.migrate import transfer
from nova_freemem.migrate.decision import Decider
from nova_freemem.migrate.decision import Migration
from nova_freemem.migrate.during import DuringTransfer
from nova_freemem.migrate.engine import Engine
from nova_freemem.migrate.guest_release import GuestRelease
from nova_freemem.migrate.states import PHASES
from nova_freemem.migrate.states import AwaitingMemory
from nova_freemem.migrate.states import Cancelled
from nova_freemem.migrate.states import DryRun
from nova_freemem.migrate.states import Released
from nova_freemem.migrate.states import Releasing
from nova_freemem.migrate.states import Restored
from nova_freemem.migrate.states import Skipped
from nova_freemem.migrate.states import State
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.traffic import Sender
from nova_freemem.plan.transfer_meter import TransferMeter
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests

# Nova's request for post-copy waits no longer than this for the guest, whose
# watch looks five times a second, and whose QEMU may not answer.
POST_COPY_WAIT_SECONDS = 3.0


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
        migration: Migration,
        clock: clocks.Clock,
        restore: Callable[[journal.JournalEntry | None], bool],
        destination_skip: Callable[[], Skip | None] = lambda: None,
        requests: Requests | None = None,
    ) -> None:
        """Initialize the migration of a guest.

        :param guest: the guest
        :param engine: this host's, with the guest's policy
        :param reporter: reports on it
        :param migration: what has been said of the migration
        :param clock: for all waits
        :param restore: restores the guest, which is not touched by this
                        migration from then on; given what is known to be
                        outstanding, returns whether nothing is any more
        :param destination_skip: returns why nothing is to be released for the
                                 destination, None if it restores memory
        :param requests: where requests arrive already; None for nowhere
        """
        self.requests = requests or Requests()
        self._guest = guest
        self._engine = engine
        self._reporter = reporter
        self._migration = migration
        self._clock = clock
        self._restore = restore
        self._record = journal.Record(guest)
        self._sender = Sender()
        self._decider = Decider(
            guest,
            engine,
            migration,
            self._sender,
            clock,
            self.requests,
            destination_skip,
        )
        self._release = GuestRelease(
            guest, engine, reporter, self._record, clock
        )
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
            words = PHASES[type(self._state)]
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

    def prepare(self) -> State:
        """Decide, and release what is to be released before the transfer.

        :returns: what :meth:`transfer` goes on from; an abort that arrives
                  later than this is for the transfer
        """
        deadline = clocks.Deadline(
            self._clock, self._engine.policy.deadline_seconds
        )
        state = self._decide_and_release(deadline)
        request = self.requests.latest
        if request is Request.ABORT or (
            # Where nothing was released, it is Nova's migration alone.
            request is Request.SHUTDOWN
            and not isinstance(state, Skipped | DryRun | AwaitingMemory)
        ):
            self._abandon()
            self._flush()
            state = Cancelled()
        self._state = state
        return state

    @contextlib.contextmanager
    def transfer(self, state: State) -> Iterator[None]:
        """Watch the guest while Nova transfers it.

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
                self._migration.dest,
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
            tasks.append(functools.partial(self._watch, state, meter))
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
        if isinstance(state, DryRun) and not self._has_failed:
            self._report_dry_run(state.plan, meter)

    def _report_dry_run(self, plan: Plan, meter: TransferMeter) -> None:
        sent = meter.sent()
        if sent is not None:
            self._reporter.dry_run_ended(plan, sent)

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

    def _decide_and_release(self, deadline: clocks.Deadline) -> State:
        try:
            decision = self._decider.before_transfer(deadline)
            if isinstance(decision, Skip):
                return Skipped(decision)
            if isinstance(decision, Plan) and self._engine.policy.dry_run:
                self._reporter.dry_run(decision)
                return DryRun(decision)
            self._guest.need_no_job()
            self._write_journal(decision.original_kib)
            if isinstance(decision, Eligible):
                self._release.make_ready()
                self._record.keep()
                return AwaitingMemory(self._engine.policy.deadline_seconds)
        except exceptions.DomainBusy as error:
            return Skipped(Skip(Reason.DOMAIN_BUSY, str(error)))
        except Exception as error:
            self._reporter.error('Deciding what to release', error)
            self._abandon()
            return Skipped(Skip(Reason.ERROR))
        releasing = self._state = Releasing(decision, self._clock.now())
        try:
            state = self._release.before_transfer(
                decision, deadline, self.requests, self._decider.bandwidth
            )
            self._waited_seconds = (
                self._clock.now() - releasing.began_at_seconds
            )
            if isinstance(state, Restored):
                self.restore()
            else:
                self._record.keep()  # it leaves with the guest
            return state
        except exceptions.DomainBusy as error:
            # It waited for 30 s, and so would restoring: the guest is watched
            # during the transfer, by calls that do not wait for a job.
            self._reporter.error('Releasing memory', error)
            return releasing
        except Exception as error:
            self._reporter.error('Releasing memory', error)
            self._abandon()
            return Restored()

    def _write_journal(self, original_kib: int) -> None:
        self._record.write(
            journal.JournalEntry(
                original_kib=original_kib,
                source=self._migration.host,
                released_at=datetime.datetime.fromtimestamp(
                    self._clock.wall(), datetime.UTC
                ),
                migration=self._migration.uuid,
                stats_period_seconds=domain_xml.stats_period_seconds(
                    self._guest.xml()
                ),
                node=self._migration.node,
            )
        )

    def _watch(
        self,
        state: AwaitingMemory | Releasing | Released,
        meter: TransferMeter,
        requests: Requests,
    ) -> None:
        during = DuringTransfer(
            self._guest,
            self._engine,
            self._reporter,
            self._decider,
            self._release,
            self._clock,
        )
        try:
            for self._state in during.states(state, meter, requests):
                pass
        finally:
            self._watch_ended.set()

    def _flush(self) -> None:
        """Wait for the events, unless the guest is late."""
        if not self._is_late:
            self._reporter.flush()

    def _abandon(self) -> None:
        self.restore()
        self._release.close()

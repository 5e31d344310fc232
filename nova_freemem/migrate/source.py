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

Nothing in here raises into Nova: whatever fails, the migration goes on as
Nova does it, and the guest gets back what was taken.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import functools

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base as acquire
from nova_freemem.migrate import restore_step
from nova_freemem.migrate import transfer
from nova_freemem.migrate.engine import Engine
from nova_freemem.plan import eligibility
from nova_freemem.plan import planner
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.release.base import EndReason
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests


class SourceMigration:
    """One guest, from the request to its landing elsewhere."""

    def __init__(
        self,
        domain: guests.Guest,
        engine: Engine,
        reporter: reporters.Reporter,
        host: str,
        migration: str,
        os_type: str | None,
        clock: clocks.Clock,
    ) -> None:
        """Know the guest and what may be used on it.

        :param domain: the guest
        :param engine: this host's
        :param reporter: tells of it
        :param host: this host's name
        :param migration: UUID of Nova's migration
        :param os_type: what the guest's image says it runs
        :param clock: for all waits
        """
        self._domain = domain
        self._engine = engine
        self._reporter = reporter
        self._host = host
        self._migration = migration
        self._os_type = os_type
        self._clock = clock
        self._plan: planner.Plan | None = None
        self._left_alone: Skip | None = None
        self._event = contextlib.ExitStack()
        self._began_at = 0.0
        self._moving = False
        self._companion: transfer.TransferWatch | None = None
        self._owed: journal.JournalEntry | None = None
        self._late = False
        self.requests = clocks.Requests()

    def prepare(self, dest: str) -> bool:
        """Decide, and release what is to be released before the transfer.

        :param dest: the destination's name
        :returns: whether the transfer is to start; False where the operator
                  aborted the migration meanwhile
        """
        deadline = clocks.Deadline(
            self._clock, self._engine.policy.deadline_seconds
        )
        try:
            decision = self._decide(dest, deadline)
            if isinstance(decision, Skip):
                self._left_alone = decision
            else:
                self._begin(decision, deadline)
        except Exception as fault:
            self._reporter.error('Releasing memory of the guest', fault)
            self._abandon()
        if self.requests.close() is not clocks.Request.ABORT:
            return True
        self.restore()
        return False

    @contextlib.contextmanager
    def transfer(self, dest: str) -> Iterator[None]:
        """Go along while Nova transfers the guest.

        :param dest: the destination's name
        """
        tasks: list[transfer.Task] = [
            functools.partial(
                transfer.learn_bandwidth,
                self._domain,
                dest,
                self._engine.links,
                self._clock,
            )
        ]
        if self._left_alone is not None:
            tasks.append(functools.partial(self._tell, self._left_alone))
        if self._plan is not None:
            tasks.append(functools.partial(self._stay_with, self._plan))
        self._companion = transfer.TransferWatch(tasks)
        try:
            self._companion.start()
        except RuntimeError as fault:
            self._reporter.error('Starting a thread', fault)
            self._abandon()
        try:
            yield
        finally:
            self._companion.stop()

    def restore(self) -> None:
        """Give back, here, what the guest is owed.

        Does nothing where it is owed nothing, has left, or is late to take
        back what it has been promised: that is the reconciler's then.
        """
        if self._companion is not None:
            self._companion.stop()
        if self._late:
            return
        assignment = restore_step.begin(
            self._domain, self._reporter, self._clock
        )
        if assignment is not None:
            self._late = restore_step.watch(assignment, self._reporter)

    def _decide(
        self, dest: str, deadline: clocks.Deadline
    ) -> planner.Plan | Skip:
        if dest == self._host:
            return Skip(Reason.SAME_HOST)
        if self._domain.read_metadata() is not None:
            return Skip(Reason.OUTSTANDING_MEMORY)
        left_seconds = self._engine.backoff.left_seconds(self._domain.uuid)
        if left_seconds:
            return Skip(Reason.BACKING_OFF, f'for {left_seconds:.0f} s more')
        guest = eligibility.examine(
            self._domain.is_running(),
            self._domain.xml(),
            self._domain.memory_stats(),
            self._os_type,
        )
        if isinstance(guest, Skip):
            return guest
        driver = self._domain.fresh_memory_stats(self._clock)
        if driver is None:
            return Skip(Reason.NO_BALLOON_DRIVER)
        link = self._engine.links.rate(dest)
        hopeless = planner.cannot_pay(driver, guest, self._engine.policy, link)
        if hopeless is not None:
            return hopeless
        try:
            memory = acquire.acquire_from(
                self._engine.sources,
                self._domain,
                guest.actual_kib,
                driver,
                self._clock,
                deadline,
            )
        except exceptions.SourceUnavailable as fault:
            return Skip(Reason.NO_SOURCE, str(fault))
        if self.requests.given is not None:
            return Skip(Reason.INTERRUPTED, self.requests.given.value)
        return planner.make(
            memory, guest, self._engine.policy, link, self._engine.paces.pace
        )

    def _note_debt(self, plan: planner.Plan) -> None:
        self._owed = journal.JournalEntry(
            original_kib=plan.original_kib,
            source=self._host,
            released_at=datetime.datetime.fromtimestamp(
                self._clock.wall(), datetime.UTC
            ),
            migration=self._migration,
            stats_period_seconds=domain_xml.stats_period_seconds(
                self._domain.xml()
            ),
        )
        journal.write(self._domain, self._owed)

    def _keep_the_debt(self) -> None:
        """See that the debt still is_current in writing.

        Somebody else, the operator's command for one, may have found the
        guest whole between the note and the balloon's first step.
        """
        if (
            self._owed is not None
            and self._plan is not None
            and self._domain.read_metadata() is None
        ):
            journal.write(self._domain, self._owed)

    def _begin(self, plan: planner.Plan, deadline: clocks.Deadline) -> None:
        self._note_debt(plan)
        self._plan = plan
        # Telling Nova can take as long as its message bus wants: not while
        # memory is being taken and nobody watches.
        self._event.enter_context(
            self._reporter.event(reporters.RELEASE_EVENT)
        )
        self._began_at = self._clock.now()
        self._engine.releaser.start(self._domain, plan)
        self._moving = True
        if plan.mode is not planner.Mode.DURING:
            self._release(plan, self.requests, deadline)
        self._keep_the_debt()

    def _release(
        self,
        plan: planner.Plan,
        requests: clocks.Requests,
        deadline: clocks.Deadline | None,
    ) -> None:
        release = self._engine.releaser.watch(
            self._domain, plan, requests, self._clock, deadline
        )
        if deadline is not None:
            free_kib = min(release.released_kib, plan.free_kib)
            self._engine.paces.learn(
                free_kib, release.released_kib - free_kib, release.seconds
            )
        if release.end is EndReason.NEARLY_DONE:
            return
        self._moving = False
        release = dataclasses.replace(
            release, seconds=self._clock.now() - self._began_at
        )
        self._event.close()
        self._reporter.released(plan, release)
        if release.end is EndReason.PRESSURE:
            self._engine.backoff.note(self._domain.uuid)
        if not release.end.restores:
            self._plan = dataclasses.replace(
                plan, target_kib=release.target_kib
            )
            return
        self._plan = None
        if deadline is not None:
            self.restore()

    def _stay_with(
        self, plan: planner.Plan, requests: clocks.Requests
    ) -> None:
        """Be the companion's task: see that the guest can do without."""
        try:
            if self._moving:
                self._release(plan, requests, None)
            if self._plan is not None and not self._engine.releaser.hold(
                self._domain, self._plan, requests, self._clock
            ):
                self._engine.backoff.note(self._domain.uuid)
                self._reporter.pressure_during_transfer(plan)
        except exceptions.DomainGone:
            return  # it was transferred at that moment
        except Exception as fault:
            self._reporter.error('Watching over the guest', fault)
            with contextlib.suppress(exceptions.FreememError):
                self._domain.steer_balloon_kib(plan.original_kib)
        finally:
            self._event.close()

    def _tell(self, why: Skip, _requests: clocks.Requests) -> None:
        self._reporter.skipped(why)

    def _abandon(self) -> None:
        self._plan = None
        self.restore()
        self._event.close()

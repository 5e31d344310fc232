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
from nova_freemem import companion
from nova_freemem import description as descriptions
from nova_freemem import domain as domains
from nova_freemem import eligibility
from nova_freemem import exceptions
from nova_freemem import give_back
from nova_freemem import journal
from nova_freemem import plan as plans
from nova_freemem import report
from nova_freemem.acquire import base as acquire
from nova_freemem.engine import Engine
from nova_freemem.reasons import LeaveAlone
from nova_freemem.reasons import Reason
from nova_freemem.release.base import End


class Departure:
    """One guest, from the request to its landing elsewhere."""

    def __init__(
        self,
        domain: domains.Domain,
        engine: Engine,
        reporter: report.Reporter,
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
        self._plan: plans.Plan | None = None
        self._left_alone: LeaveAlone | None = None
        self._event = contextlib.ExitStack()
        self._began_at = 0.0
        self._moving = False
        self._companion: companion.Companion | None = None
        self._owed: journal.Owed | None = None
        self._late = False
        self.orders = clocks.Orders()

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
            if isinstance(decision, LeaveAlone):
                self._left_alone = decision
            else:
                self._begin(decision, deadline)
        except Exception as fault:
            self._reporter.fault('Releasing memory of the guest', fault)
            self._give_up()
        if self.orders.close() is not clocks.Order.ABORT:
            return True
        self.give_back()
        return False

    @contextlib.contextmanager
    def transfer(self, dest: str) -> Iterator[None]:
        """Go along while Nova transfers the guest.

        :param dest: the destination's name
        """
        tasks: list[companion.Task] = [
            functools.partial(
                companion.learn_rate,
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
        self._companion = companion.Companion(tasks)
        try:
            self._companion.start()
        except RuntimeError as fault:
            self._reporter.fault('Starting a thread', fault)
            self._give_up()
        try:
            yield
        finally:
            self._companion.stop()

    def give_back(self) -> None:
        """Give back, here, what the guest is owed.

        Does nothing where it is owed nothing, has left, or is late to take
        back what it has been promised: that is the reconciler's then.
        """
        if self._companion is not None:
            self._companion.stop()
        if self._late:
            return
        assignment = give_back.begin(self._domain, self._reporter, self._clock)
        if assignment is not None:
            self._late = give_back.see_to(assignment, self._reporter)

    def _decide(
        self, dest: str, deadline: clocks.Deadline
    ) -> plans.Plan | LeaveAlone:
        if dest == self._host:
            return LeaveAlone(Reason.SAME_HOST)
        if self._domain.read_metadata() is not None:
            return LeaveAlone(Reason.OWED)
        left_seconds = self._engine.backoff.left_seconds(self._domain.uuid)
        if left_seconds:
            return LeaveAlone(
                Reason.BACKING_OFF, f'for {left_seconds:.0f} s more'
            )
        guest = eligibility.examine(
            self._domain.is_running(),
            self._domain.description(),
            self._domain.balloon(),
            self._os_type,
        )
        if isinstance(guest, LeaveAlone):
            return guest
        driver = self._domain.fresh_balloon(self._clock)
        if driver is None:
            return LeaveAlone(Reason.NO_BALLOON_DRIVER)
        link = self._engine.links.rate(dest)
        hopeless = plans.not_even_at_best(
            driver, guest, self._engine.policy, link
        )
        if hopeless is not None:
            return hopeless
        try:
            memory = acquire.ask_in_turn(
                self._engine.sources,
                self._domain,
                guest.actual_kib,
                driver,
                self._clock,
                deadline,
            )
        except exceptions.NoAnswer as fault:
            return LeaveAlone(Reason.NO_ANSWER, str(fault))
        if self.orders.given is not None:
            return LeaveAlone(Reason.ORDERED, self.orders.given.value)
        return plans.make(
            memory, guest, self._engine.policy, link, self._engine.paces.pace
        )

    def _note_debt(self, plan: plans.Plan) -> None:
        self._owed = journal.Owed(
            original_kib=plan.original_kib,
            taken_by=self._host,
            taken_at=datetime.datetime.fromtimestamp(
                self._clock.wall(), datetime.UTC
            ),
            migration=self._migration,
            stats_period_seconds=descriptions.stats_period_seconds(
                self._domain.description()
            ),
        )
        journal.write(self._domain, self._owed)

    def _keep_the_debt(self) -> None:
        """See that the debt still stands in writing.

        Somebody else, the operator's command for one, may have found the
        guest whole between the note and the balloon's first step.
        """
        if (
            self._owed is not None
            and self._plan is not None
            and self._domain.read_metadata() is None
        ):
            journal.write(self._domain, self._owed)

    def _begin(self, plan: plans.Plan, deadline: clocks.Deadline) -> None:
        self._note_debt(plan)
        self._plan = plan
        # Telling Nova can take as long as its message bus wants: not while
        # memory is being taken and nobody watches.
        self._event.enter_context(self._reporter.event(report.RELEASE_EVENT))
        self._began_at = self._clock.now()
        self._engine.releaser.start(self._domain, plan)
        self._moving = True
        if plan.mode is not plans.Mode.BESIDE:
            self._release(plan, self.orders, deadline)
        self._keep_the_debt()

    def _release(
        self,
        plan: plans.Plan,
        orders: clocks.Orders,
        deadline: clocks.Deadline | None,
    ) -> None:
        release = self._engine.releaser.watch(
            self._domain, plan, orders, self._clock, deadline
        )
        if deadline is not None:
            free_kib = min(release.taken_kib, plan.free_kib)
            self._engine.paces.learn(
                free_kib, release.taken_kib - free_kib, release.seconds
            )
        if release.end is End.NEARLY:
            return
        self._moving = False
        release = dataclasses.replace(
            release, seconds=self._clock.now() - self._began_at
        )
        self._event.close()
        self._reporter.released(plan, release)
        if release.end is End.PRESSURE:
            self._engine.backoff.note(self._domain.uuid)
        if not release.end.gives_back:
            self._plan = dataclasses.replace(
                plan, target_kib=release.target_kib
            )
            return
        self._plan = None
        if deadline is not None:
            self.give_back()

    def _stay_with(self, plan: plans.Plan, orders: clocks.Orders) -> None:
        """Be the companion's task: see that the guest can do without."""
        try:
            if self._moving:
                self._release(plan, orders, None)
            if self._plan is not None and not self._engine.releaser.hold(
                self._domain, self._plan, orders, self._clock
            ):
                self._engine.backoff.note(self._domain.uuid)
                self._reporter.needed_back(plan)
        except exceptions.DomainGone:
            return  # it was transferred at that moment
        except Exception as fault:
            self._reporter.fault('Watching over the guest', fault)
            with contextlib.suppress(exceptions.FreememError):
                self._domain.steer_balloon_kib(plan.original_kib)
        finally:
            self._event.close()

    def _tell(self, why: LeaveAlone, _orders: clocks.Orders) -> None:
        self._reporter.left_alone(why)

    def _give_up(self) -> None:
        self._plan = None
        self.give_back()
        self._event.close()

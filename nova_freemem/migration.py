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

"""One guest's journey: what is done at the source, and at the destination.

Nothing in here raises into Nova: whatever fails, the migration goes on as
Nova does it, and the guest gets back what was taken.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import datetime
import threading

from nova_freemem import assign
from nova_freemem import clock as clocks
from nova_freemem import domain as domains
from nova_freemem import eligibility
from nova_freemem import exceptions
from nova_freemem import journal
from nova_freemem import plan as plans
from nova_freemem import report
from nova_freemem.acquire import base as acquire
from nova_freemem.engine import Engine
from nova_freemem.reasons import LeaveAlone
from nova_freemem.reasons import Reason

# How long Nova's own steps wait for a guest to take its memory back; after
# that a thread of its own goes on watching.
ASSIGN_WAIT_SECONDS = 10.0
ASSIGN_PATIENCE_SECONDS = 3600.0


class Departure:
    """A guest that is about to leave this host."""

    def __init__(self, domain: domains.Domain, engine: Engine,
                 reporter: report.Reporter, host: str, migration: str,
                 clock: clocks.Clock) -> None:
        """Know the guest and what may be used on it.

        :param domain: the guest
        :param engine: this host's
        :param reporter: tells of it
        :param host: this host's name
        :param migration: UUID of Nova's migration
        :param clock: for all waits
        """
        self._domain = domain
        self._engine = engine
        self._reporter = reporter
        self._host = host
        self._migration = migration
        self._clock = clock
        self._watcher: threading.Thread | None = None
        self.orders = clocks.Orders()

    def prepare(self, dest: str) -> bool:
        """Release what the guest does not need, if that is possible.

        :param dest: the destination's name
        :returns: whether the transfer is to start; False where the operator
                  aborted the migration meanwhile
        """
        deadline = clocks.Deadline(self._clock,
                                   self._engine.policy.deadline_seconds)
        try:
            decision = self._decide(dest, deadline)
            if isinstance(decision, LeaveAlone):
                self._reporter.left_alone(decision)
            else:
                self._carry_out(decision, deadline)
        except Exception as fault:
            self._reporter.fault('Releasing memory of the guest', fault)
            self.give_back()
        if self.orders.close() is not clocks.Order.ABORT:
            return True
        self.give_back()
        return False

    def give_back(self) -> None:
        """Give back, here, what the guest is owed.

        Does nothing where it is owed nothing, has left, or is slow to take
        back what it has been promised already.
        """
        if self._watcher is not None and self._watcher.is_alive():
            return
        assignment = _begin(self._domain, self._reporter, self._clock)
        if assignment is not None:
            self._watcher = _see_to(assignment, self._reporter)

    def _decide(self, dest: str, deadline: clocks.Deadline
                ) -> plans.Plan | LeaveAlone:
        if dest == self._host:
            return LeaveAlone(Reason.SAME_HOST)
        description = self._domain.description()
        balloon = self._domain.balloon()
        guest = eligibility.examine(self._domain.is_running(), description,
                                    balloon)
        if isinstance(guest, LeaveAlone):
            return guest
        if self._domain.fresh_balloon(self._clock) is None:
            return LeaveAlone(Reason.NO_BALLOON_DRIVER)
        try:
            memory = acquire.ask_in_turn(
                self._engine.sources, self._domain, guest.actual_kib,
                self._clock, deadline)
        except exceptions.NoAnswer as fault:
            return LeaveAlone(Reason.NO_ANSWER, str(fault))
        if self.orders.given is not None:
            return LeaveAlone(Reason.ORDERED, self.orders.given.value)
        return plans.make(memory, guest.actual_kib, guest.rss_kib,
                          self._engine.policy)

    def _carry_out(self, plan: plans.Plan, deadline: clocks.Deadline
                   ) -> None:
        journal.write(self._domain, journal.Owed(
            original_kib=plan.original_kib, taken_by=self._host,
            taken_at=datetime.datetime.fromtimestamp(
                self._clock.wall(), datetime.UTC),
            migration=self._migration))
        with self._reporter.event(report.RELEASE_EVENT):
            release = self._engine.releaser.release(
                self._domain, plan, self.orders, self._clock, deadline)
        self._reporter.released(plan, release)
        if release.end.gives_back:
            self.give_back()


class Arrival:
    """A guest that has landed on this host."""

    def __init__(self, domain: domains.Domain, reporter: report.Reporter,
                 clock: clocks.Clock) -> None:
        """Know the guest.

        :param domain: the guest
        :param reporter: tells of it
        :param clock: for all waits
        """
        self._domain = domain
        self._reporter = reporter
        self._clock = clock

    @contextlib.contextmanager
    def memory_given_back(self) -> Iterator[None]:
        """Give back what the guest is owed, around Nova's own first steps.

        The balloon begins to deflate before them and is watched after them,
        so that neither waits for the other.
        """
        assignment = _begin(self._domain, self._reporter, self._clock)
        if assignment is None:
            yield
            return
        with self._reporter.event(report.ASSIGN_EVENT):
            try:
                yield
            finally:
                _see_to(assignment, self._reporter)


def _begin(domain: domains.Domain, reporter: report.Reporter,
           clock: clocks.Clock) -> assign.Assignment | None:
    try:
        return assign.begin(domain, clock)
    except exceptions.DomainGone:
        return None
    except Exception as fault:
        reporter.not_assigned(fault)
        return None


def _see_to(assignment: assign.Assignment, reporter: report.Reporter
            ) -> threading.Thread | None:
    """Watch for as long as Nova may wait, and beside it where that is short.

    :returns: the thread that goes on watching, if one has to
    """
    if _watch(assignment, reporter, ASSIGN_WAIT_SECONDS):
        return None
    watcher = threading.Thread(
        target=_watch, name='freemem-assign', daemon=True,
        args=(assignment, reporter, ASSIGN_PATIENCE_SECONDS))
    try:
        watcher.start()
    except RuntimeError as fault:
        reporter.not_assigned(fault)
        return None
    return watcher


def _watch(assignment: assign.Assignment, reporter: report.Reporter,
           wait_seconds: float) -> bool:
    """Watch, and tell whether there is nothing left to watch."""
    try:
        assigned = assignment.watch(wait_seconds)
    except exceptions.DomainGone:
        return True  # what is owed has left with it
    except Exception as fault:
        reporter.not_assigned(fault)
        return True
    reporter.assigned(assigned)
    return assigned.complete

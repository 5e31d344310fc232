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

"""Watching a release: observe, decide, act, each tick."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base as acquire_base
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.transfer_meter import TransferMeter
from nova_freemem.release import base
from nova_freemem.release import dropping
from nova_freemem.release import reclaim_rules
from nova_freemem.release import rereading
from nova_freemem.release import stop_rules
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.restore import journal
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import TOLERANCE_KIB

TICK_SECONDS = 0.2

# While the balloon waits for the guest to drop page cache, which takes a
# second or two. It begins at a tick.
DROPPING_TICK_SECONDS = 0.1

# With which requests a guest gets its memory back in the midst of a transfer.
_ENDS_OF_HOLD: dict[Request | None, EndReason] = {
    Request.POST_COPY: EndReason.POST_COPY,
    Request.SHUTDOWN: EndReason.SHUTDOWN,
}

# While memory is outstanding, the guest reports its statistics this often.
STATS_PERIOD_SECONDS = 1

# All of them are looked at each tick. A guest of a terabyte that gives up just
# enough to go on, during a transfer, would have a million of them.
MOST_OBSERVATIONS = 200


# As many of the latest are kept while a guest is held: two seconds, by which a
# rate can be told.
HELD_OBSERVATIONS = 10


@dataclasses.dataclass(eq=False)
class Watch:
    """A releaser at work on one guest.

    :ivar releaser: observes and acts
    :ivar guest: the guest
    :ivar record: its journal entry, seen to be there at each tick
    :ivar clock: for waits
    :ivar reclaimer: has the guest drop page cache first; None for nobody
    :ivar sources: that of a plan is asked what the guest reads again
    """

    releaser: base.Releaser
    guest: guests.Guest
    record: journal.Record
    clock: clocks.Clock
    reclaimer: base.Reclaimer | None = None
    sources: Iterable[acquire_base.Source] = ()

    def __post_init__(self) -> None:
        # The guest as the release began, and since the releaser moves it.
        self._first: base.Observation | None = None
        self._seen: list[base.Observation] = []
        self._dropping: dropping.Dropping | None = None
        self._rereading: rereading.Rereading | None = None
        self._is_moving = False

    def make_ready(self) -> None:
        """Have the guest report as often as a watch of it needs.

        The journal has its entry, which tells how often it was before.

        :raises FreememError: it could not be done
        """
        self.guest.set_stats_period_seconds(STATS_PERIOD_SECONDS)

    def start(self, plan: Plan, phase: Phase = Phase.BEFORE_TRANSFER) -> None:
        """Start to release, and do not wait.

        :param plan: what to release; the journal has its entry
        :param phase: before the transfer; or during it, which neither the
                      journal nor the statistics period can be changed in: the
                      guest was made ready before it
        :raises JournalGone: during the transfer: nothing is released
        :raises FreememError: it could not be done
        """
        self.stop_asking()
        self._seen.clear()
        self._first = self._dropping = self._rereading = None
        if phase is Phase.BEFORE_TRANSFER:
            self.make_ready()
        elif self.record.is_gone():
            raise exceptions.JournalGone()
        # First: it compares with what there was before anything is dropped.
        self._watch_rereading(plan)
        self._is_moving = self.reclaimer is None or not reclaim_rules.pays(
            plan
        )
        if self._is_moving:
            self.releaser.set_target(self.guest, plan.target_kib, phase)
        elif self.reclaimer is not None:
            self._dropping = dropping.Dropping(
                self.reclaimer, self.guest, plan, self.clock
            )
            self._dropping.start()
        if phase is Phase.BEFORE_TRANSFER:
            self.record.keep()

    def _watch_rereading(self, plan: Plan) -> None:
        """Begin to ask what the guest reads again, where that may matter."""
        if plan.cache_kib < stop_rules.LEAST_CACHE_KIB:
            return
        for source in self.sources:
            if source.name == plan.source:
                self._rereading = rereading.Rereading(
                    source, self.guest, self.clock, self._dropped_kib
                )
                self._rereading.start()

    def _dropped_kib(self) -> int:
        return 0 if self._dropping is None else self._dropping.dropped_kib

    def stop_asking(self) -> None:
        """Ask the guest for nothing more, and do not wait."""
        self._stop_dropping()
        if self._rereading is not None:
            self._rereading.stop()

    def _stop_dropping(self) -> None:
        if self._dropping is not None:
            self._dropping.stop()

    def until_end(
        self,
        plan: Plan,
        phase: Phase,
        requests: Requests,
        deadline: clocks.Deadline | None = None,
        meter: TransferMeter | None = None,
        bandwidth: Callable[[], Bandwidth] | None = None,
    ) -> base.Release:
        """Watch a release until it ends.

        :param plan: what is being released
        :param phase: before the transfer, which waits, or during it
        :param requests: abort, force-complete and the end of the transfer
                         arrive here
        :param deadline: when to stop, keeping what was released by then;
                         None for none
        :param meter: tells how the transfer is, None before it
        :param bandwidth: tells what the transfer can expect by now, since
                          other migrations begin and end; None where that
                          does not matter
        :returns: what was released; nothing moves any more, but for what is
                  restored
        :raises JournalGone: during the transfer, in which the journal cannot
                             be written: all memory has to be restored
        :raises FreememError: it could not be done
        """
        # A release that goes on during the transfer is the same one: what the
        # guest has given up since it last reported is known.
        seen = self._seen
        if not seen:
            seen.append(
                base.Observation(
                    self.clock.now(), plan.original_kib, plan.rss_kib
                )
            )
        first = self._first = self._first or seen[0]
        end = None
        try:
            while end is None:
                self.clock.wait(
                    TICK_SECONDS if self._is_moving else DROPPING_TICK_SECONDS,
                    until=requests.arrived,
                )
                end = self._observe(seen, phase) or stop_rules.end_reason(
                    seen,
                    plan
                    if bandwidth is None
                    else dataclasses.replace(plan, bandwidth=bandwidth()),
                    phase,
                    requests.latest,
                    deadline is not None and deadline.passed(),
                    None if meter is None else meter.sending(),
                    not self._is_moving
                    or (meter is not None and meter.throttled),
                    first,
                )
                if end is None:
                    self._go_on(plan, phase, first)
                if len(seen) > MOST_OBSERVATIONS:
                    del seen[2 : MOST_OBSERVATIONS // 2 : 2]
        finally:
            if end is not EndReason.NEARLY_DONE:
                self._stop_dropping()
        target_kib = _target_kib(end, seen[-1].actual_kib, plan)
        if target_kib != plan.target_kib:
            self.releaser.set_target(
                self.guest, target_kib, self._reachable(phase)
            )
        return self._summary(
            end, first, target_kib, 0.0 if meter is None else meter.sent_kib
        )

    def _go_on(
        self, plan: Plan, phase: Phase, first: base.Observation
    ) -> None:
        """See to it that the guest drops page cache, and is then moved."""
        last = self._seen[-1]
        if self._dropping is None or not self._dropping.look(
            max(0, first.rss_kib - last.rss_kib)
        ):
            return
        if not self._is_moving:
            self.releaser.set_target(
                self.guest, plan.target_kib, self._reachable(phase)
            )
            # How fast it moves shows in what is seen from now on.
            self._is_moving = True
            self._seen[:] = [last]

    def _summary(
        self,
        end: EndReason,
        first: base.Observation,
        target_kib: int,
        sent_kib: float,
    ) -> base.Release:
        last = self._seen[-1]
        return base.Release(
            end=end,
            released_kib=max(0, first.actual_kib - last.actual_kib),
            resident_fall_kib=max(0, first.rss_kib - last.rss_kib),
            rss_kib=last.rss_kib,
            target_kib=target_kib,
            seconds=last.at_seconds - first.at_seconds,
            dropped_kib=self._dropped_kib(),
            not_dropped=(
                '' if self._dropping is None else self._dropping.problem
            ),
            sent_kib=round(sent_kib),
        )

    def hold(
        self,
        plan: Plan,
        requests: Requests,
        deadline: clocks.Deadline | None = None,
    ) -> EndReason:
        """Watch a guest whose release has ended until its transfer ends.

        :param plan: what was released; its target is the release's
        :param requests: the end of the transfer arrives here, post-copy, or a
                         shutdown
        :param deadline: when memory must be being sent; None for no matter
        :returns: why it ended; all memory is restored, unless the transfer
                  has ended
        :raises JournalGone: all memory has to be restored
        :raises FreememError: it could not be done
        """
        seen = stop_rules.last_report(self._seen)
        while not self._observe(seen, Phase.DURING_TRANSFER):
            end = stop_rules.end_of_hold(seen, plan) or _ENDS_OF_HOLD.get(
                requests.latest
            )
            if end is not None:
                self.restore(plan.original_kib)
                return end
            if requests.latest is Request.TRANSFER_ENDED:
                break
            if deadline is not None and deadline.passed():
                self.restore(plan.original_kib)
                return EndReason.COPYING_DISKS
            del seen[1:-HELD_OBSERVATIONS]
            self.clock.wait(TICK_SECONDS, until=requests.arrived)
        return EndReason.TRANSFER_ENDED

    def until_restored(self, plan: Plan, wait_seconds: float) -> None:
        """Wait, during the transfer, until restored memory has arrived.

        :param plan: what had been released
        :param wait_seconds: how long at most
        :raises FreememError: it cannot be observed
        """
        deadline = clocks.Deadline(self.clock, wait_seconds)
        seen: list[base.Observation] = []
        while not (
            self._observe(seen, Phase.DURING_TRANSFER)
            or seen[-1].actual_kib >= plan.original_kib - TOLERANCE_KIB
            or deadline.passed()
        ):
            self.clock.wait(TICK_SECONDS)

    def restore(self, original_kib: int) -> None:
        """Restore all memory of the guest while its transfer runs.

        :param original_kib: memory it is to have
        :raises FreememError: it could not be done
        """
        self.releaser.set_target(
            self.guest, original_kib, Phase.DURING_TRANSFER
        )

    def _reachable(self, phase: Phase) -> Phase:
        """Return by which calls the guest can be reached at once.

        With another job, a snapshot for one, it is as during a transfer.
        """
        if (
            phase is Phase.BEFORE_TRANSFER
            and self.guest.situation() is guests.Situation.HAS_JOB
        ):
            return Phase.DURING_TRANSFER
        return phase

    def _observe(
        self, seen: list[base.Observation], phase: Phase
    ) -> EndReason | None:
        """Observe once more; a guest that has left has been transferred."""
        try:
            if phase is Phase.BEFORE_TRANSFER:
                self.record.keep()
            elif self.record.is_gone():
                raise exceptions.JournalGone()
            one = self.releaser.observe(self.guest, self.clock.now())
            if self._rereading is not None:
                one = dataclasses.replace(one, reread_kib=self._rereading.kib)
            seen.append(one.after(seen[-1] if seen else None))
        except (exceptions.DomainGone, exceptions.OperationInvalid):
            return EndReason.TRANSFER_ENDED
        return None


def _target_kib(end: EndReason, actual_kib: int, plan: Plan) -> int:
    """Decide what the guest is left with: nothing moves that ought to stay.

    It has given up more since it was observed, and gets that little again.
    """
    if end.restores:
        return plan.original_kib
    if end in (
        EndReason.TARGET_REACHED,
        EndReason.NEARLY_DONE,
        EndReason.TRANSFER_ENDED,
        EndReason.NOT_OURS,
    ):
        return plan.target_kib
    return min(plan.original_kib, actual_kib)

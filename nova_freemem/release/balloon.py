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

"""Release by the virtio balloon, towards a target, under watch."""

from __future__ import annotations

from nova_freemem import clock as clocks
from nova_freemem import domain as domains
from nova_freemem import exceptions
from nova_freemem.plan import Plan
from nova_freemem.release import base
from nova_freemem.release import watch

TICK_SECONDS = 0.2

# While memory is taken, the guest tells its statistics this often.
STATS_PERIOD_SECONDS = 1

# All of them are looked at each tick. A guest of a terabyte that gives just
# enough to go on, beside a transfer, would have a million of them.
MOST_OBSERVATIONS = 200


class Balloon(base.Releaser):
    """Inflates the balloon, looks each tick, and leaves nothing moving."""

    def start(self, domain: domains.Domain, plan: Plan) -> None:
        """See :meth:`nova_freemem.release.base.Releaser.start`."""
        domain.set_stats_period_seconds(STATS_PERIOD_SECONDS)
        domain.set_balloon_kib(plan.target_kib)

    def watch(
        self,
        domain: domains.Domain,
        plan: Plan,
        orders: clocks.Orders,
        clock: clocks.Clock,
        deadline: clocks.Deadline | None,
    ) -> base.Release:
        """See :meth:`nova_freemem.release.base.Releaser.watch`."""
        seen = [
            watch.Observation(clock.now(), plan.original_kib, plan.rss_kib)
        ]
        end = None
        while end is None:
            clock.wait(TICK_SECONDS, until=orders.arrived)
            end = _look(domain, clock, seen) or watch.judge(
                seen,
                plan,
                orders.given,
                deadline is not None and deadline.passed(),
                kept_waiting=deadline is not None,
            )
            if len(seen) > MOST_OBSERVATIONS:
                del seen[2 : MOST_OBSERVATIONS // 2 : 2]
        steer = (
            domain.set_balloon_kib
            if deadline is not None
            else domain.steer_balloon_kib
        )
        target_kib = _target_kib(end, seen[-1].actual_kib, plan)
        if target_kib != plan.target_kib:
            steer(target_kib)
        return _summary(end, seen, target_kib)

    def hold(
        self,
        domain: domains.Domain,
        plan: Plan,
        orders: clocks.Orders,
        clock: clocks.Clock,
    ) -> bool:
        """See :meth:`nova_freemem.release.base.Releaser.hold`."""
        seen: list[watch.Observation] = []
        while not _look(domain, clock, seen):
            if watch.under_pressure(seen, plan):
                domain.steer_balloon_kib(plan.original_kib)
                return False
            if orders.given is clocks.Order.TRANSFER_ENDED:
                break
            del seen[1:-1]
            clock.wait(TICK_SECONDS, until=orders.arrived)
        return True


def _target_kib(end: base.End, actual_kib: int, plan: Plan) -> int:
    """Decide what the balloon is to leave: nothing moves that ought to stay.

    It has moved on since it was looked at, and comes back that little.
    """
    if end.gives_back:
        return plan.original_kib
    if end in (
        base.End.TARGET_REACHED,
        base.End.NEARLY,
        base.End.TRANSFER_ENDED,
        base.End.NOT_OURS,
    ):
        return plan.target_kib
    return min(plan.original_kib, actual_kib)


def _look(
    domain: domains.Domain, clock: clocks.Clock, seen: list[watch.Observation]
) -> base.End | None:
    """Look once more; a guest that has left has been transferred."""
    try:
        seen.append(_observe(domain, clock))
    except (exceptions.DomainGone, exceptions.OperationInvalid):
        return base.End.TRANSFER_ENDED
    return None


def _observe(domain: domains.Domain, clock: clocks.Clock) -> watch.Observation:
    balloon = domain.balloon()
    if balloon is None or balloon.rss_kib is None:
        raise exceptions.NoAnswer(
            source='balloon', problem='the host stopped telling its size'
        )
    return watch.Observation.of(clock.now(), balloon, balloon.rss_kib)


def _summary(
    end: base.End, seen: list[watch.Observation], target_kib: int
) -> base.Release:
    first, last = seen[0], seen[-1]
    return base.Release(
        end=end,
        taken_kib=max(0, first.actual_kib - last.actual_kib),
        gained_kib=max(0, first.rss_kib - last.rss_kib),
        rss_kib=last.rss_kib,
        target_kib=target_kib,
        seconds=last.at_seconds - first.at_seconds,
    )

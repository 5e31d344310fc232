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
from nova_freemem import exceptions
from nova_freemem.plan.planner import Plan
from nova_freemem.release import base
from nova_freemem.release import stop_rules
from nova_freemem.virt import guest as guests

TICK_SECONDS = 0.2

# While memory is taken, the guest tells its statistics this often.
STATS_PERIOD_SECONDS = 1

# All of them are looked at each tick. A guest of a terabyte that gives just
# enough to go on, beside a transfer, would have a million of them.
MOST_OBSERVATIONS = 200


class Balloon(base.Releaser):
    """Inflates the balloon, looks each tick, and leaves nothing moving."""

    def start(self, domain: guests.Guest, plan: Plan) -> None:
        """See :meth:`nova_freemem.release.base.Releaser.start`."""
        domain.set_stats_period_seconds(STATS_PERIOD_SECONDS)
        domain.set_balloon_kib(plan.target_kib)

    def watch(
        self,
        domain: guests.Guest,
        plan: Plan,
        requests: clocks.Requests,
        clock: clocks.Clock,
        deadline: clocks.Deadline | None,
    ) -> base.Release:
        """See :meth:`nova_freemem.release.base.Releaser.watch`."""
        seen = [
            stop_rules.Observation(
                clock.now(), plan.original_kib, plan.rss_kib
            )
        ]
        end = None
        while end is None:
            clock.wait(TICK_SECONDS, until=requests.arrived)
            end = _look(domain, clock, seen) or stop_rules.judge(
                seen,
                plan,
                requests.given,
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
        domain: guests.Guest,
        plan: Plan,
        requests: clocks.Requests,
        clock: clocks.Clock,
    ) -> bool:
        """See :meth:`nova_freemem.release.base.Releaser.hold`."""
        seen: list[stop_rules.Observation] = []
        while not _look(domain, clock, seen):
            if stop_rules.under_pressure(seen, plan):
                domain.steer_balloon_kib(plan.original_kib)
                return False
            if requests.given is clocks.Request.TRANSFER_ENDED:
                break
            del seen[1:-1]
            clock.wait(TICK_SECONDS, until=requests.arrived)
        return True


def _target_kib(end: base.EndReason, actual_kib: int, plan: Plan) -> int:
    """Decide what the balloon is to leave: nothing moves that ought to stay.

    It has moved on since it was looked at, and comes back that little.
    """
    if end.restores:
        return plan.original_kib
    if end in (
        base.EndReason.TARGET_REACHED,
        base.EndReason.NEARLY_DONE,
        base.EndReason.TRANSFER_ENDED,
        base.EndReason.NOT_OURS,
    ):
        return plan.target_kib
    return min(plan.original_kib, actual_kib)


def _look(
    domain: guests.Guest,
    clock: clocks.Clock,
    seen: list[stop_rules.Observation],
) -> base.EndReason | None:
    """Look once more; a guest that has left has been transferred."""
    try:
        seen.append(_observe(domain, clock))
    except (exceptions.DomainGone, exceptions.OperationInvalid):
        return base.EndReason.TRANSFER_ENDED
    return None


def _observe(
    domain: guests.Guest, clock: clocks.Clock
) -> stop_rules.Observation:
    balloon = domain.memory_stats()
    if balloon is None or balloon.rss_kib is None:
        raise exceptions.SourceUnavailable(
            source='balloon', problem='the host stopped telling its size'
        )
    return stop_rules.Observation.of(clock.now(), balloon, balloon.rss_kib)


def _summary(
    end: base.EndReason, seen: list[stop_rules.Observation], target_kib: int
) -> base.Release:
    first, last = seen[0], seen[-1]
    return base.Release(
        end=end,
        released_kib=max(0, first.actual_kib - last.actual_kib),
        resident_fall_kib=max(0, first.rss_kib - last.rss_kib),
        rss_kib=last.rss_kib,
        target_kib=target_kib,
        seconds=last.at_seconds - first.at_seconds,
    )

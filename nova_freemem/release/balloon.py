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


class Balloon(base.Releaser):
    """Inflates the balloon, looks each tick, and leaves nothing moving."""

    def release(self, domain: domains.Domain, plan: Plan,
                orders: clocks.Orders, clock: clocks.Clock,
                deadline: clocks.Deadline) -> base.Release:
        """See :meth:`nova_freemem.release.base.Releaser.release`."""
        seen = [_observe(domain, clock)]
        domain.set_balloon_kib(plan.target_kib)
        end = None
        while end is None:
            clock.wait(TICK_SECONDS, until=orders.arrived)
            seen.append(_observe(domain, clock))
            end = watch.judge(seen, plan, orders.given, deadline.passed())
        if end is not base.End.TARGET_REACHED and not end.gives_back:
            domain.set_balloon_kib(min(plan.original_kib,
                                       seen[-1].actual_kib))
        return _summary(end, seen)


def _observe(domain: domains.Domain, clock: clocks.Clock
             ) -> watch.Observation:
    balloon = domain.balloon()
    if balloon is None or balloon.rss_kib is None:
        raise exceptions.NoAnswer(
            source='balloon', problem='the host stopped telling its size')
    return watch.Observation(clock.now(), balloon.actual_kib,
                             balloon.rss_kib)


def _summary(end: base.End, seen: list[watch.Observation]) -> base.Release:
    first, last = seen[0], seen[-1]
    return base.Release(
        end=end,
        taken_kib=max(0, first.actual_kib - last.actual_kib),
        gained_kib=max(0, first.rss_kib - last.rss_kib),
        rss_kib=last.rss_kib,
        seconds=last.at_seconds - first.at_seconds)

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

"""When to end a release: pure, from what was observed."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from nova_freemem import clock as clocks
from nova_freemem.plan import Plan
from nova_freemem.release.base import End

# The balloon moves in pages; a guest that stops this far from its target has
# arrived.
TOLERANCE_KIB = 1024

# The slowest release measured took 400 MiB/s. A guest that gives less than
# this for so long has nothing more to give (one page each 5 s has been
# reported as progress elsewhere; it is none).
STALL_SECONDS = 2.0
STALL_KIB = 8 * 1024

# Where discarding is inhibited the resident size does not fall at all; where
# it works it falls one to one, less what the guest touches meanwhile.
LEAST_FALL_SHARE = 0.1
LEAST_FALL_JUDGED_KIB = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Observation:
    """The balloon at one moment.

    :ivar at_seconds: when, monotonic
    :ivar actual_kib: memory the guest has
    :ivar rss_kib: its resident size on the host
    """

    at_seconds: float
    actual_kib: int
    rss_kib: int


def judge(seen: Sequence[Observation], plan: Plan,
          order: clocks.Order | None, deadline_passed: bool) -> End | None:
    """Decide whether a release goes on.

    :param seen: all observations, oldest first; one at least
    :param plan: what is to be taken
    :param order: what the operator wants, if anything
    :param deadline_passed: whether the time is up
    :returns: why it ends, or None where it goes on
    """
    if order is clocks.Order.ABORT:
        return End.ABORTED
    last = seen[-1]
    if last.actual_kib > plan.original_kib:
        return End.NOT_OURS
    if last.actual_kib < plan.target_kib - TOLERANCE_KIB:
        return End.NOT_OURS
    end = _end_with_gain(seen, plan, order, deadline_passed)
    if end is not None and _gained_nothing(seen, plan):
        return End.NOTHING_GAINED
    return end


def _end_with_gain(seen: Sequence[Observation], plan: Plan,
                   order: clocks.Order | None, deadline_passed: bool
                   ) -> End | None:
    if seen[-1].actual_kib <= plan.target_kib + TOLERANCE_KIB:
        return End.TARGET_REACHED
    if order is clocks.Order.FORCE_COMPLETE:
        return End.FORCE_COMPLETE
    if deadline_passed:
        return End.DEADLINE
    if _stalled(seen):
        return End.NO_PROGRESS
    return None


def _stalled(seen: Sequence[Observation]) -> bool:
    last = seen[-1]
    for earlier in reversed(seen):
        if last.at_seconds - earlier.at_seconds >= STALL_SECONDS:
            return earlier.actual_kib - last.actual_kib < STALL_KIB
    return False


def _gained_nothing(seen: Sequence[Observation], plan: Plan) -> bool:
    first, last = seen[0], seen[-1]
    expected_kib = plan.expected_fall_kib(first.actual_kib - last.actual_kib)
    if expected_kib < LEAST_FALL_JUDGED_KIB:
        return False
    return first.rss_kib - last.rss_kib < LEAST_FALL_SHARE * expected_kib

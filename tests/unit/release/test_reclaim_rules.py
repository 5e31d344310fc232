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

"""How much page cache a guest drops, and when its balloon begins."""

from typing import Any

from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.release import reclaim_rules
from tests import base
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.simulation.fakes import make_plan

# A guest with 8 GiB of cold page cache, nothing free, and a balloon as slow as
# that of an emulated one.
RATE = ReleaseRate(600.0 * MIB, 400.0 * MIB)
PLAN = make_plan(
    original_kib=16 * GIB, free_kib=0, cold_kib=8 * GIB, rate=RATE
)
AHEAD_KIB = int(600 * MIB * reclaim_rules.AHEAD_SECONDS)


def portion_mib(
    dropped_kib: int = 0, seconds: float = 0.0, fall_kib: int = 0, **plan: Any
) -> int:
    return (
        reclaim_rules.portion_kib(
            make_plan(
                **{
                    'original_kib': 16 * GIB,
                    'free_kib': 0,
                    'cold_kib': 8 * GIB,
                    'rate': RATE,
                }
                | plan
            ),
            dropped_kib,
            seconds,
            fall_kib,
        )
        // MIB
    )


class PortionTest(base.TestCase):
    def test_the_first_one_is_small(self) -> None:
        self.assertEqual(32, portion_mib())

    def test_the_agent_is_kept_for_a_quarter_of_a_second(self) -> None:
        self.assertEqual(200, portion_mib(800 * MIB, 0.5))

    def test_one_lucky_portion_makes_no_large_one(self) -> None:
        self.assertEqual(96, portion_mib(64 * MIB, 0.001))

    def test_no_portion_is_larger_than_the_largest(self) -> None:
        fast = ReleaseRate(9 * GIB, 6 * GIB)
        self.assertEqual(512, portion_mib(4 * GIB, 0.1, rate=fast))

    def test_a_slow_guest_is_asked_for_little(self) -> None:
        self.assertEqual(32, portion_mib(64 * MIB, 8.0))

    def test_no_more_is_dropped_than_is_cold(self) -> None:
        # The kernel drops up to twice as much as it is asked to.
        self.assertEqual(50, portion_mib(924 * MIB, 0.7, cold_kib=1024 * MIB))

    def test_it_waits_for_the_balloon_when_it_is_far_ahead(self) -> None:
        ahead_kib = AHEAD_KIB - 63 * MIB
        self.assertEqual(0, portion_mib(ahead_kib, 2.0))
        self.assertEqual(32, portion_mib(ahead_kib, 2.0, fall_kib=MIB))
        self.assertEqual(0, portion_mib(4 * GIB, 2.0, fall_kib=GIB))

    def test_free_memory_that_the_host_holds_keeps_the_balloon_busy(
        self,
    ) -> None:
        self.assertEqual(0, portion_mib(free_kib=AHEAD_KIB))
        self.assertEqual(
            32, portion_mib(free_kib=AHEAD_KIB, nonresident_kib=GIB)
        )


class EndTest(base.TestCase):
    def test_a_little_that_is_left_is_not_asked_for(self) -> None:
        left_kib = reclaim_rules.FIRST_PORTION_KIB
        self.assertFalse(reclaim_rules.is_over(PLAN, 8 * GIB - left_kib, 5.0))
        self.assertTrue(
            reclaim_rules.is_over(PLAN, 8 * GIB - left_kib + 1, 5.0)
        )

    def test_it_ends_where_the_balloon_is_much_faster_alone(self) -> None:
        self.assertTrue(reclaim_rules.is_over(PLAN, 99 * MIB, 1.0))
        self.assertFalse(reclaim_rules.is_over(PLAN, 101 * MIB, 1.0))

    def test_a_guest_on_a_slow_machine_is_asked_on(self) -> None:
        # Its balloon is as much slower than expected as it is itself.
        self.assertFalse(reclaim_rules.is_over(PLAN, 183 * MIB, 0.54))

    def test_one_slow_moment_is_not_judged(self) -> None:
        self.assertFalse(reclaim_rules.is_over(PLAN, 0, 0.4))

    def test_a_little_page_cache_is_left_to_the_balloon(self) -> None:
        for cold_mib, pays in ((0, False), (255, False), (256, True)):
            self.assertEqual(
                pays, reclaim_rules.pays(make_plan(cold_kib=cold_mib * MIB))
            )


class BalloonTest(base.TestCase):
    """When it begins."""

    def begins(
        self,
        dropped_mib: int,
        seconds: float,
        fall_mib: int = 0,
        since_seconds: float = 0.1,
    ) -> bool:
        return reclaim_rules.balloon_begins(
            PLAN,
            dropped_mib * MIB,
            seconds,
            since_seconds,
            fall_mib * MIB,
        )

    def test_it_waits_for_a_guest_that_drops_fast(self) -> None:
        self.assertFalse(self.begins(0, 0.0))
        self.assertFalse(self.begins(64, 0.2))
        self.assertFalse(self.begins(1000, 1.0))
        self.assertFalse(self.begins(2000, 2.0))

    def test_it_begins_when_it_is_busy_for_some_seconds(self) -> None:
        self.assertTrue(self.begins(2950, 2.0))
        self.assertFalse(self.begins(2950, 2.0, fall_mib=500))

    def test_it_does_not_wait_for_a_guest_that_drops_slowly(self) -> None:
        self.assertTrue(self.begins(900, 1.0))

    def test_it_does_not_wait_for_a_guest_that_hangs(self) -> None:
        self.assertFalse(self.begins(0, 0.0, since_seconds=0.9))
        self.assertTrue(self.begins(0, 0.0, since_seconds=1.0))
        self.assertFalse(self.begins(1000, 0.8, since_seconds=0.6))
        self.assertTrue(self.begins(1000, 0.8, since_seconds=0.8))

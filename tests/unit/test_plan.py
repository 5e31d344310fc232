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

"""How much is taken, and when a guest is left alone."""

import dataclasses

import hypothesis
from hypothesis import strategies

from nova_freemem import plan as plans
from nova_freemem.acquire.base import FreeMemory
from nova_freemem.reasons import LeaveAlone
from nova_freemem.reasons import Reason
from tests.unit import base
from tests.unit.fakes import GIB
from tests.unit.fakes import MIB
from tests.unit.fakes import make_policy


def make(free_kib: int, *, rss_kib: int = 4 * GIB,
         available_kib: int | None = None, **policy: object
         ) -> plans.Plan | LeaveAlone:
    """Plan for a guest of 4 GiB, wholly resident unless said otherwise."""
    memory = FreeMemory('agent', 4 * GIB, free_kib, available_kib)
    return plans.make(memory, 4 * GIB, rss_kib, make_policy(**policy))


class PlanTest(base.TestCase):

    def test_all_but_the_headroom_is_taken(self) -> None:
        plan = make(3 * GIB, headroom_percent=25)
        self.assertEqual(plans.Plan(
            original_kib=4 * GIB, target_kib=2 * GIB, never_touched_kib=0,
            expected_saving_kib=2 * GIB, source='agent'), plan)
        self.assertEqual(2 * GIB, plan.release_kib)

    def test_a_small_guest_keeps_the_least_headroom(self) -> None:
        plan = make(3 * GIB, headroom_percent=1, headroom_min_mib=512)
        self.assertEqual(3 * GIB - 512 * MIB, plan.release_kib)

    def test_less_is_taken_where_less_is_available_than_free(self) -> None:
        plan = make(3 * GIB, available_kib=2 * GIB, headroom_percent=25)
        self.assertEqual(1 * GIB, plan.release_kib)

    def test_more_available_than_free_is_page_cache_and_stays(self) -> None:
        plan = make(2 * GIB, available_kib=3 * GIB, headroom_percent=25)
        self.assertEqual(1 * GIB, plan.release_kib)

    def test_nothing_free_leaves_the_guest_alone(self) -> None:
        decision = make(100 * MIB)
        self.assertEqual(Reason.NOTHING_FREE, decision.reason)
        self.assertEqual('100 MiB free, headroom 204 MiB', decision.detail)

    def test_just_the_headroom_free_leaves_the_guest_alone(self) -> None:
        self.assertEqual(Reason.NOTHING_FREE,
                         make(1 * GIB, headroom_percent=25).reason)

    def test_a_freshly_booted_guest_is_not_worth_it(self) -> None:
        decision = make(3 * GIB + 512 * MIB, rss_kib=600 * MIB)
        self.assertEqual(Reason.WOULD_NOT_PAY, decision.reason)
        self.assertEqual('88 MiB resident of 3379 MiB free', decision.detail)

    def test_a_small_saving_is_not_worth_it(self) -> None:
        self.assertEqual(
            Reason.WOULD_NOT_PAY,
            make(300 * MIB, min_saving_mib=100).reason)
        self.assertIsInstance(make(300 * MIB, min_saving_mib=90), plans.Plan)

    def test_never_touched_memory_saves_nothing(self) -> None:
        plan = make(3 * GIB, rss_kib=3 * GIB)
        self.assertEqual(1 * GIB, plan.never_touched_kib)
        self.assertEqual(2 * GIB, plan.expected_saving_kib)

    def test_resident_size_may_fall_only_after_the_never_touched_part(
            self) -> None:
        plan = make(3 * GIB, rss_kib=3 * GIB)
        self.assertEqual(0, plan.expected_fall_kib(GIB))
        self.assertEqual(MIB, plan.expected_fall_kib(GIB + MIB))

    def test_resident_size_with_qemu_in_it_is_above_the_memory(self) -> None:
        plan = make(3 * GIB, rss_kib=4 * GIB + 200 * MIB)
        self.assertEqual(0, plan.never_touched_kib)


kib = strategies.integers(0, 64 * GIB)


class PlanPropertiesTest(base.TestCase):

    @hypothesis.given(
        actual_kib=kib, total_kib=kib, free_kib=kib, rss_kib=kib,
        available_kib=strategies.none() | kib,
        headroom_percent=strategies.integers(1, 90),
        headroom_min_mib=strategies.integers(32, 4096))
    def test_a_guest_always_keeps_its_headroom(
            self, actual_kib: int, total_kib: int, free_kib: int,
            rss_kib: int, available_kib: int | None,
            headroom_percent: int, headroom_min_mib: int) -> None:
        total_kib = min(total_kib, actual_kib)
        free_kib = min(free_kib, total_kib)
        memory = FreeMemory('agent', total_kib, free_kib, available_kib)
        policy = make_policy(headroom_percent=headroom_percent,
                             headroom_min_mib=headroom_min_mib)
        plan = plans.make(memory, actual_kib, rss_kib, policy)
        if isinstance(plan, LeaveAlone):
            return
        headroom_kib = policy.headroom_kib(actual_kib)
        self.assertGreaterEqual(plan.target_kib, headroom_kib)
        self.assertLess(plan.target_kib, plan.original_kib)
        self.assertGreaterEqual(free_kib - plan.release_kib, headroom_kib)
        self.assertLessEqual(plan.expected_saving_kib, plan.release_kib)
        self.assertGreaterEqual(plan.expected_saving_kib,
                                policy.min_saving_mib * 1024)

    @hypothesis.given(free_kib=kib, more_kib=kib)
    def test_more_free_never_takes_less(self, free_kib: int, more_kib: int
                                        ) -> None:
        def release_kib(amount_kib: int) -> int:
            plan = make(min(amount_kib, 4 * GIB))
            return plan.release_kib if isinstance(plan, plans.Plan) else 0

        self.assertLessEqual(release_kib(free_kib),
                             release_kib(free_kib + more_kib))

    def test_a_plan_cannot_be_changed(self) -> None:
        plan = make(3 * GIB)
        self.assertRaises(dataclasses.FrozenInstanceError, setattr, plan,
                          'target_kib', 1)

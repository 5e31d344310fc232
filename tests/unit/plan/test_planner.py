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

"""How much is released and when, and when that is skipped."""

import dataclasses
import itertools
from typing import Any

import hypothesis
from hypothesis import strategies

from nova_freemem.acquire.free_memory import CommitLimit
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.acquire.free_memory import NodeMemory
from nova_freemem.plan import forecast
from nova_freemem.plan import planner
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.bandwidth import Origin
from nova_freemem.plan.eligibility import QEMU_OWN_KIB
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.planner import Moment
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.policy import Policy
from nova_freemem.virt.memory_stats import MemoryStats
from tests import base
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.simulation.fakes import make_policy

GIGABIT = Bandwidth.of_mbps(1000, Origin.CONFIGURED)
RATE = ReleaseRate(is_fresh=True)
FAST = Bandwidth.of_mbps(100_000, Origin.CONFIGURED)

# What a guest of 4 GiB keeps by default.
HEADROOM_KIB = make_policy().headroom_kib(4 * GIB)
KEEPS_KIB = int(HEADROOM_KIB * (1 + planner.SLACK_SHARE))
# What a node of half its memory keeps.
NODE_KEEPS_KIB = int(
    make_policy().headroom_kib(2 * GIB) * (1 + planner.SLACK_SHARE)
)


def make(
    free_kib: int,
    *,
    resident_kib: int = 4 * GIB,
    windows: bool = False,
    available_kib: int | None = None,
    cold_kib: int | None = None,
    unwritten_kib: int = 0,
    swap_kib: int | None = None,
    hot_kib: int | None = 0,
    reports_free: bool = False,
    bandwidth: Bandwidth = GIGABIT,
    rate: ReleaseRate = RATE,
    moment: Moment = Moment.BEFORE_TRANSFER,
    commit: CommitLimit | None = None,
    nodes: tuple[NodeMemory, ...] = (),
    of_nodes: int = 1,
    total_shrinks: bool = False,
    holds_zeros: bool = False,
    **policy: Any,
) -> planner.Plan | Skip:
    """Plan for a guest of 4 GiB, wholly resident unless said otherwise."""
    memory = FreeMemory(
        'agent',
        4 * GIB,
        free_kib,
        available_kib,
        inactive_file_kib=cold_kib,
        unwritten_kib=unwritten_kib,
        swap_total_kib=swap_kib,
        active_file_kib=hot_kib,
        commit=commit,
        nodes=nodes,
    )
    guest = Eligible(
        4 * GIB,
        resident_kib + QEMU_OWN_KIB,
        windows,
        of_nodes,
        total_shrinks=total_shrinks,
        reports_free=reports_free,
        holds_zeros=holds_zeros,
    )
    return planner.make(
        memory, guest, make_policy(**policy), bandwidth, rate, moment
    )


class AmountTest(base.TestCase):
    def test_all_but_the_headroom_and_some_slack_is_released(self) -> None:
        plan = make(3 * GIB, headroom_percent=25)
        self.assertEqual(4 * GIB, plan.original_kib)
        self.assertEqual(1 * GIB, plan.headroom_kib)
        self.assertEqual(2 * GIB - 256 * MIB, plan.release_kib)
        self.assertEqual(plan.release_kib, plan.expected_saving_kib)

    def test_a_small_guest_keeps_the_least_headroom(self) -> None:
        plan = make(3 * GIB, headroom_percent=1, headroom_min_mib=512)
        self.assertEqual(3 * GIB - 640 * MIB, plan.release_kib)

    def test_where_memtotal_shrinks_the_share_is_of_what_is_left(
        self,
    ) -> None:
        plan = make(3 * GIB + 512 * MIB, total_shrinks=True)
        self.assertEqual(4 * GIB * 5 // 100, plan.headroom_kib)
        plan = make(1 * GIB, total_shrinks=True)
        self.assertGreater(plan.headroom_kib, 4 * GIB * 10 // 100)
        self.assertLess(plan.headroom_kib, HEADROOM_KIB)
        self.assertAlmostEqual(
            0.15, (1 * GIB - plan.release_kib) / plan.target_kib, delta=1e-5
        )

    @hypothesis.given(
        spare_mib=strategies.integers(1, 4096),
        percent=strategies.integers(1, 90),
    )
    def test_no_share_that_programs_in_the_guest_act_on_is_reached(
        self, spare_mib: int, percent: int
    ) -> None:
        spare_kib = spare_mib * MIB
        plan, plan_of_stays = (
            make(
                spare_kib,
                total_shrinks=shrinks,
                headroom_percent=percent,
                mode='before',
            )
            for shrinks in (True, False)
        )
        if isinstance(plan, Skip):
            self.assertIsInstance(plan_of_stays, Skip)
            return
        available_kib = spare_kib - plan.release_kib
        self.assertGreaterEqual(
            available_kib + 2, percent / 100 * plan.target_kib * 1.25
        )
        self.assertGreaterEqual(
            available_kib + 2, min(5, percent) / 100 * 4 * GIB * 1.25
        )
        if not isinstance(plan_of_stays, Skip):
            self.assertGreaterEqual(
                plan.release_kib, plan_of_stays.release_kib
            )

    def test_windows_keeps_what_its_driver_needs(self) -> None:
        plan = make(3 * GIB, windows=True)
        self.assertEqual(1 * GIB, plan.headroom_kib)
        self.assertEqual(2 * GIB - 256 * MIB, plan.release_kib)
        self.assertEqual(
            Reason.NOTHING_FREE, make(1 * GIB, windows=True).reason
        )

    def test_less_is_released_where_less_is_available_than_free(self) -> None:
        plan = make(3 * GIB, available_kib=2 * GIB)
        self.assertEqual(2 * GIB - KEEPS_KIB, plan.release_kib)

    def test_cache_stays_where_the_guest_does_not_say_that_it_is_cold(
        self,
    ) -> None:
        plan = make(2 * GIB, available_kib=3 * GIB)
        self.assertEqual(2 * GIB - KEEPS_KIB, plan.release_kib)

    def test_cold_and_clean_cache_is_released_too(self) -> None:
        plan = make(
            1 * GIB,
            available_kib=3 * GIB,
            cold_kib=2 * GIB,
            unwritten_kib=512 * MIB,
        )
        self.assertEqual(2 * GIB + 512 * MIB - KEEPS_KIB, plan.release_kib)

    def test_where_the_operator_wants_no_cache_is_released(self) -> None:
        plan = make(
            2 * GIB, available_kib=3 * GIB, cold_kib=1 * GIB, reclaim='free'
        )
        self.assertEqual(2 * GIB - KEEPS_KIB, plan.release_kib)

    def test_where_the_operator_wants_all_that_is_available_is(self) -> None:
        plan = make(1 * GIB, available_kib=3 * GIB, reclaim='available')
        self.assertEqual(3 * GIB - KEEPS_KIB, plan.release_kib)

    def test_all_that_is_available_is_what_is_free_where_no_more_is_reported(
        self,
    ) -> None:
        plan = make(2 * GIB, cold_kib=1 * GIB, reclaim='available')
        self.assertEqual(2 * GIB - KEEPS_KIB, plan.release_kib)

    def test_nothing_free_is_skipped(self) -> None:
        decision = make(100 * MIB)
        self.assertEqual(Reason.NOTHING_FREE, decision.reason)
        self.assertEqual('100 MiB to spare, headroom 491 MiB', decision.detail)

    def test_a_guest_whose_tasks_wait_for_memory_is_skipped(self) -> None:
        def stalled(
            share: float, free_kib: int = 409 * MIB, nodes: int = 1
        ) -> planner.Plan | Skip:
            return planner.make(
                FreeMemory(
                    'agent',
                    4 * GIB,
                    free_kib,
                    inactive_file_kib=2 * GIB,
                    unwritten_kib=0,
                    memory_pressure_share=share,
                ),
                Eligible(4 * GIB, 4 * GIB, nodes=nodes),
                make_policy(),
                GIGABIT,
                RATE,
            )

        self.assertIsInstance(stalled(0.1), planner.Plan)
        self.assertEqual(
            Skip(
                Reason.MEMORY_PRESSURE,
                '25% of the last ten seconds, 409 MiB free',
            ),
            stalled(0.25),
        )
        # With a tenth of it free, it is a container's that does.
        self.assertIsInstance(stalled(0.25, 410 * MIB), planner.Plan)
        # A node may be empty all the same.
        skip = stalled(0.25, 410 * MIB, nodes=2)
        self.assertEqual(Reason.MEMORY_PRESSURE, skip.reason)

    def test_a_guest_that_does_not_overcommit_keeps_room(self) -> None:
        def strict(left_kib: int, share: float = 0.5) -> planner.Plan | Skip:
            return make(
                3 * GIB,
                commit=CommitLimit(3 * GIB, 3 * GIB - left_kib, share),
            )

        plan = strict(KEEPS_KIB + 512 * MIB)
        self.assertEqual(1 * GIB, plan.release_kib)
        plan = strict(KEEPS_KIB + 512 * MIB, share=1.0)
        self.assertEqual(512 * MIB, plan.release_kib)
        # A limit that does not fall is none.
        plan = strict(KEEPS_KIB + 512 * MIB, share=0.0)
        self.assertEqual(3 * GIB - KEEPS_KIB, plan.release_kib)
        skip = strict(KEEPS_KIB)
        self.assertEqual(Reason.OVERCOMMIT_LIMIT, skip.reason)
        self.assertEqual(
            f'{KEEPS_KIB // MIB} MiB left of CommitLimit, headroom '
            f'{HEADROOM_KIB // MIB} MiB',
            skip.detail,
        )

    def test_a_limit_that_stays_with_memtotal_is_none(self) -> None:
        for total_shrinks, stays, reason in (
            (False, True, None),
            (True, True, Reason.OVERCOMMIT_LIMIT),
            (False, False, Reason.OVERCOMMIT_LIMIT),
        ):
            plan = make(
                3 * GIB,
                commit=CommitLimit(3 * GIB, 3 * GIB, 0.5, stays),
                total_shrinks=total_shrinks,
            )
            if reason is None:
                self.assertEqual(3 * GIB - KEEPS_KIB, plan.release_kib)
            else:
                self.assertEqual(reason, plan.reason)

    def test_a_guest_with_nodes_keeps_headroom_on_each_of_them(self) -> None:
        def with_nodes(*nodes: tuple[int, int]) -> planner.Plan | Skip:
            return make(
                3 * GIB,
                cold_kib=512 * MIB,
                nodes=tuple(
                    NodeMemory(2 * GIB, free_kib, 1 * GIB, cold_kib, 0)
                    for free_kib, cold_kib in nodes
                ),
                of_nodes=2,
            )

        keeps_kib = NODE_KEEPS_KIB
        plan = with_nodes((2 * GIB, 0), (1 * GIB, 512 * MIB))
        self.assertEqual(1 * GIB + 512 * MIB - keeps_kib, plan.release_kib)
        skip = with_nodes((2 * GIB, 0), (56 * MIB, 0))
        self.assertEqual(Reason.GUEST_NUMA, skip.reason)
        self.assertIn('node 1 has 56 MiB to spare, headroom', skip.detail)

    def test_a_guest_that_does_not_report_its_nodes(self) -> None:
        skip = make(3 * GIB, of_nodes=2)
        self.assertEqual(
            Skip(Reason.GUEST_NUMA, 'agent reported 0 of 2'), skip
        )

    def test_what_a_node_can_spare_is_what_the_option_says(self) -> None:
        for reclaim, spare_kib in (
            ('free', 1 * GIB),
            ('cold', 1 * GIB + 200 * MIB),
            ('available', 1 * GIB + 600 * MIB),
        ):
            plan = make(
                3 * GIB,
                available_kib=3 * GIB,
                reclaim=reclaim,
                nodes=(
                    NodeMemory(2 * GIB, 1 * GIB, 700 * MIB, 300 * MIB, 0),
                    NodeMemory(
                        2 * GIB, 1 * GIB, 700 * MIB, 300 * MIB, 100 * MIB
                    ),
                ),
                of_nodes=2,
            )
            self.assertEqual(spare_kib - NODE_KEEPS_KIB, plan.release_kib)

    def test_of_windows_what_it_calls_free_can_be_spared(self) -> None:
        # Its standby list included; what it calls available is more.
        for reclaim in ('cold', 'available'):
            plan = make(
                2 * GIB,
                available_kib=3 * GIB,
                cold_kib=1 * GIB,
                windows=True,
                reclaim=reclaim,
            )
            self.assertEqual(2 * GIB - 1280 * MIB, plan.release_kib)
            self.assertTrue(plan.watches_free)
        self.assertFalse(make(2 * GIB, available_kib=3 * GIB).watches_free)

    def test_windows_does_not_tell_free_memory_from_cache(self) -> None:
        self.assertEqual(
            Reason.NO_SOURCE,
            make(3 * GIB, windows=True, reclaim='free').reason,
        )

    def test_just_the_headroom_free_is_skipped(self) -> None:
        self.assertEqual(Reason.NOTHING_FREE, make(KEEPS_KIB).reason)

    def test_a_small_saving_is_not_worth_it(self) -> None:
        small_kib = KEEPS_KIB + 99 * MIB
        self.assertEqual(
            Reason.NOT_WORTHWHILE,
            make(small_kib, min_saving_mib=100, mode='during').reason,
        )
        self.assertIsInstance(
            make(small_kib, min_saving_mib=99, mode='during'), planner.Plan
        )

    def test_resident_size_may_fall_only_after_the_never_touched_part(
        self,
    ) -> None:
        plan = make(3 * GIB, resident_kib=3 * GIB)
        self.assertEqual(1 * GIB, plan.nonresident_kib)
        self.assertEqual(0, plan.expected_fall_kib(GIB))
        self.assertEqual(MIB, plan.expected_fall_kib(GIB + MIB))

    def test_where_free_memory_may_be_zeros_it_saves_nothing(self) -> None:
        """It is sent by nobody, and page cache is."""
        for mode in ('auto', 'before', 'during'):
            skip = make(3 * GIB, holds_zeros=True, mode=mode)
            self.assertEqual(Reason.NOT_WORTHWHILE, skip.reason)
        plan = make(
            512 * MIB,
            cold_kib=2 * GIB,
            available_kib=4 * GIB,
            bandwidth=Bandwidth.of_mbps(500, Origin.CONFIGURED),
            holds_zeros=True,
        )
        self.assertEqual(512 * MIB, plan.free_kib)
        self.assertEqual(4 * GIB - 512 * MIB, plan.plain.sent_kib)
        self.assertEqual(
            plan.release_kib - plan.free_kib, plan.expected_saving_kib
        )

    def test_there_is_nothing_more_to_gain_once_what_is_used_is_all_there_is(
        self,
    ) -> None:
        plan = make(2 * GIB, resident_kib=3 * GIB)
        self.assertEqual(2 * GIB, plan.needed_kib)
        self.assertEqual(QEMU_OWN_KIB + 2 * GIB, plan.least_rss_kib)
        cold = make(1 * GIB, available_kib=3 * GIB, cold_kib=1 * GIB)
        self.assertEqual(2 * GIB + KEEPS_KIB, cold.needed_kib)

    def test_what_it_uses_and_never_touched_need_not_be_transferred(
        self,
    ) -> None:
        plan = make(
            1 * GIB,
            resident_kib=2 * GIB + 512 * MIB,
            available_kib=3 * GIB,
            cold_kib=1 * GIB,
        )
        self.assertEqual(1 * GIB + 512 * MIB + KEEPS_KIB, plan.needed_kib)

    def test_page_cache_that_it_is_left_with_is_not_needed_once_dropped(
        self,
    ) -> None:
        """As free memory it is not sent where free pages are reported."""
        for reports_free, kept_kib in ((False, KEEPS_KIB), (True, 0)):
            plan = make(
                1 * GIB,
                available_kib=3 * GIB,
                cold_kib=1 * GIB,
                reports_free=reports_free,
            )
            self.assertEqual(2 * GIB + kept_kib, plan.needed_kib)
            self.assertEqual(
                2 * GIB + KEEPS_KIB + QEMU_OWN_KIB, plan.least_rss_kib
            )

    def test_a_plan_cannot_be_changed(self) -> None:
        plan = make(3 * GIB)
        self.assertRaises(
            dataclasses.FrozenInstanceError, setattr, plan, 'target_kib', 1
        )


class ColdTest(base.TestCase):
    """What a guest may be asked to drop by itself."""

    def cold_kib(self, **differs: Any) -> int:
        guest = {
            'free_kib': 1 * GIB,
            'available_kib': 3 * GIB + 512 * MIB,
            'cold_kib': 2 * GIB,
        }
        return make(**(guest | differs)).cold_kib

    def test_what_of_the_release_is_no_free_memory(self) -> None:
        self.assertEqual(2 * GIB - KEEPS_KIB, self.cold_kib())

    def test_nothing_that_is_dirty(self) -> None:
        self.assertEqual(
            1 * GIB - KEEPS_KIB, self.cold_kib(unwritten_kib=1 * GIB)
        )

    def test_nothing_hot_however_much_is_released(self) -> None:
        self.assertEqual(
            1 * GIB, self.cold_kib(cold_kib=1 * GIB, reclaim='available')
        )

    def test_what_is_kept_available_too_where_free_pages_are_reported(
        self,
    ) -> None:
        self.assertEqual(2 * GIB, self.cold_kib(reports_free=True))
        self.assertEqual(
            2 * GIB, self.cold_kib(free_kib=2 * GIB, reports_free=True)
        )

    def test_as_much_is_left_as_keeps_the_kernel_from_what_is_hot(
        self,
    ) -> None:
        # Of 3 GiB it wants a sixth to be inactive, of less than 1 GiB half.
        self.assertEqual(
            2 * GIB - 1 * GIB // 5,
            self.cold_kib(hot_kib=1 * GIB, reports_free=True),
        )
        self.assertEqual(
            400 * MIB,
            self.cold_kib(
                free_kib=2 * GIB,
                cold_kib=600 * MIB,
                hot_kib=200 * MIB,
                reports_free=True,
            ),
        )

    def test_nothing_where_it_is_not_known_what_is_hot(self) -> None:
        self.assertEqual(0, self.cold_kib(hot_kib=None))

    def test_nothing_where_free_memory_is_enough(self) -> None:
        self.assertEqual(0, self.cold_kib(free_kib=3 * GIB))
        self.assertEqual(
            0,
            self.cold_kib(free_kib=2 * GIB, reclaim='free', reports_free=True),
        )

    def test_nothing_where_it_is_not_known_what_is_cold(self) -> None:
        self.assertEqual(0, self.cold_kib(cold_kib=None, reclaim='available'))

    def test_nothing_where_a_node_might_drop_more_than_it_has(self) -> None:
        node = NodeMemory(2 * GIB, 512 * MIB, 1 * GIB, 1 * GIB, 0)
        plan = make(1 * GIB, cold_kib=2 * GIB, nodes=(node, node), of_nodes=2)
        self.assertGreater(plan.release_kib, 1 * GIB)
        self.assertEqual(0, plan.cold_kib)

    def test_nothing_of_windows(self) -> None:
        self.assertEqual(0, self.cold_kib(free_kib=3 * GIB, windows=True))

    def test_a_guest_may_have_swap_unless_it_says_that_it_has_none(
        self,
    ) -> None:
        for swap_kib, has_swap in ((None, True), (1, True), (0, False)):
            plan = make(2 * GIB, swap_kib=swap_kib)
            self.assertEqual(has_swap, plan.has_swap)


class ModeTest(base.TestCase):
    def test_by_itself_it_goes_for_time(self) -> None:
        self.assertEqual(Mode.AUTO, make(3 * GIB).mode)

    def test_the_operator_may_want_the_fewest_bytes(self) -> None:
        self.assertEqual(Mode.BEFORE, make(3 * GIB, mode='before').mode)
        self.assertEqual(Mode.DURING, make(3 * GIB, mode='during').mode)

    def test_a_fixed_mode_releases_whatever_it_gains(self) -> None:
        for mode in ('before', 'during'):
            self.assertIsInstance(
                make(3 * GIB, bandwidth=FAST, mode=mode), planner.Plan
            )


class MomentTest(base.TestCase):
    """The transfer runs, and copies disks or sends memory."""

    def test_a_transfer_that_runs_waits_for_nothing(self) -> None:
        for mode in ('auto', 'before', 'during'):
            for moment in (Moment.COPYING_DISKS, Moment.SENDING_MEMORY):
                plan = make(3 * GIB, moment=moment, mode=mode)
                self.assertIs(Mode.DURING, plan.mode)

    def test_a_release_that_ends_with_the_copy_costs_no_time(self) -> None:
        """At 12 Gb/s neither before nor during the transfer would pay."""
        fast = Bandwidth.of_mbps(12_000, Origin.CONFIGURED)
        for moment, pays in (
            (Moment.BEFORE_TRANSFER, False),
            (Moment.SENDING_MEMORY, False),
            (Moment.COPYING_DISKS, True),
        ):
            plan = make(3 * GIB, moment=moment, bandwidth=fast)
            self.assertIs(pays, isinstance(plan, planner.Plan), moment)

    def test_what_is_tried_during_a_transfer_is_tried_there(self) -> None:
        slow = ReleaseRate(10.0 * MIB, 10.0 * MIB)
        for moment, mode in (
            (Moment.BEFORE_TRANSFER, Mode.AUTO),
            (Moment.SENDING_MEMORY, Mode.DURING),
        ):
            plan = make(3 * GIB, rate=slow, moment=moment)
            self.assertIs(mode, plan.mode)
            self.assertTrue(plan.is_trial)


class ReleaseSecondsTest(base.TestCase):
    """How long a release would take, by the balloon driver alone."""

    STATS = MemoryStats(
        actual_kib=4 * GIB,
        rss_kib=4 * GIB,
        total_kib=4 * GIB,
        free_kib=2 * GIB,
        available_kib=3 * GIB,
        page_cache_kib=1 * GIB,
    )

    def seconds(
        self, stats: MemoryStats | None, policy: Policy | None = None
    ) -> float:
        return planner.release_seconds(
            stats,
            Eligible(4 * GIB, 4 * GIB),
            policy or make_policy(),
            ReleaseRate(1.0 * GIB, 0.5 * GIB),
        )

    def test_free_memory_and_cache_take_their_time(self) -> None:
        cache_kib = 1 * GIB - KEEPS_KIB
        self.assertAlmostEqual(
            2 + 2 * cache_kib / GIB, self.seconds(self.STATS)
        )
        self.assertAlmostEqual(
            2 - KEEPS_KIB / GIB,
            self.seconds(self.STATS, make_policy(reclaim='free')),
        )

    def test_a_guest_with_nothing_to_spare_takes_none(self) -> None:
        for stats in (
            None,
            dataclasses.replace(self.STATS, page_cache_kib=None),
            dataclasses.replace(
                self.STATS, free_kib=0, available_kib=0, page_cache_kib=0
            ),
        ):
            self.assertEqual(0.0, self.seconds(stats))


class UnknownTest(base.TestCase):
    """What is not known is seen, where that costs little."""

    assumed = Bandwidth.of_mbps(1000, Origin.ASSUMED)
    slow = ReleaseRate(inflate_kib_per_second=1 * MIB)

    def test_where_the_bandwidth_is_assumed_the_transfer_starts_at_once(
        self,
    ) -> None:
        plan = make(3 * GIB, bandwidth=self.assumed)
        self.assertEqual(Mode.DURING, plan.mode)
        self.assertTrue(plan.goes_on_if_it_pays)
        self.assertFalse(plan.is_trial)
        for origin in (Origin.MEASURED, Origin.ELSEWHERE, Origin.LIMITED):
            plan = make(
                3 * GIB,
                bandwidth=Bandwidth.of_mbps(1000, origin),
                rate=ReleaseRate(busy_share=0.3),
            )
            self.assertEqual(Mode.AUTO, plan.mode)

    def test_where_the_operator_says_when_it_is_done_then(self) -> None:
        for mode in (Mode.BEFORE, Mode.DURING):
            plan = make(3 * GIB, bandwidth=self.assumed, mode=mode.value)
            self.assertEqual(mode, plan.mode)
            self.assertFalse(plan.goes_on_if_it_pays)

    def test_a_guest_too_slow_is_tried_before_a_long_transfer(self) -> None:
        plan = make(3 * GIB, rate=self.slow)
        self.assertEqual(Mode.AUTO, plan.mode)
        self.assertTrue(plan.is_trial)

    def test_it_is_tried_during_a_shorter_one(self) -> None:
        bandwidth = Bandwidth.of_mbps(10_000, Origin.MEASURED)
        plan = make(3 * GIB, rate=self.slow, bandwidth=bandwidth)
        self.assertEqual(Mode.DURING, plan.mode)
        self.assertTrue(plan.is_trial)

    def test_it_is_not_tried_where_that_could_cost_too_much(self) -> None:
        """QEMU would look for half a second through what was released."""
        rate = ReleaseRate(look_kib_per_second=600 * MIB)
        bandwidth = Bandwidth.of_mbps(10_000, Origin.MEASURED)
        self.assertIsInstance(
            make(3 * GIB, rate=rate, bandwidth=bandwidth), Skip
        )

    def test_it_is_not_tried_where_that_was_seen_lately(self) -> None:
        rate = dataclasses.replace(self.slow, is_fresh=True)
        self.assertIsInstance(make(3 * GIB, rate=rate), Skip)

    def test_it_is_not_tried_where_it_could_not_pay_at_all(self) -> None:
        self.assertIsInstance(
            make(3 * GIB, resident_kib=900 * MIB, rate=self.slow), Skip
        )
        self.assertIsInstance(
            make(3 * GIB, bandwidth=FAST, rate=self.slow, min_saving_mib=4096),
            Skip,
        )

    def test_what_costs_next_to_nothing_is_tried_each_time(self) -> None:
        """A release takes 0.6 s, and may save a third of 34 s."""
        quick, slower = (
            ReleaseRate(gib * GIB, gib * GIB, is_fresh=True)
            for gib in (4.0, 1.0)
        )
        bandwidth = Bandwidth.of_mbps(400, Origin.MEASURED)
        about = {'resident_kib': 1600 * MIB, 'bandwidth': bandwidth}
        tried = make(3 * GIB, rate=quick, **about)
        self.assertTrue(tried.is_trial)
        self.assertEqual(0, tried.expected_saving_kib)
        self.assertIsInstance(make(3 * GIB, rate=slower, **about), Skip)
        for mode in ('before', 'during'):
            self.assertIsInstance(
                make(3 * GIB, rate=quick, mode=mode, **about), Skip
            )

    def test_what_a_guest_gives_up_last_need_not_save_anything(self) -> None:
        """Of 3 GiB that are free 1400 MiB are not resident."""
        about = {'resident_kib': 4 * GIB - 1400 * MIB, 'mode': 'before'}
        savings_kib = [
            make(
                3 * GIB,
                rate=ReleaseRate(nonresident_share=share),
                **about,
            ).expected_saving_kib
            for share in (1.0, 0.5, 0.0)
        ]
        release_kib = 3 * GIB - KEEPS_KIB
        self.assertEqual(
            [
                release_kib - 1400 * MIB,
                release_kib - max(700 * MIB, release_kib - 1672 * MIB),
                1672 * MIB,
            ],
            savings_kib,
        )

    def test_what_is_late_is_transferred(self) -> None:
        """Of 30 s of releasing, 10 may be waited for."""
        rate = ReleaseRate(100 * MIB, is_fresh=True)
        plain_seconds = 4 * GIB / GIGABIT.kib_per_second
        in_time, late = (
            plain_seconds
            - make(
                3 * GIB, rate=rate, mode='before', deadline_seconds=seconds
            ).expected_saving_seconds
            for seconds in (120, 10)
        )
        plan = make(3 * GIB, rate=rate, mode='before')
        self.assertAlmostEqual(
            10 + (4 * GIB - 1000 * MIB) / GIGABIT.kib_per_second,
            late,
            delta=0.1,
        )
        self.assertAlmostEqual(
            plan.release_kib / (100 * MIB)
            + (4 * GIB - plan.release_kib) / GIGABIT.kib_per_second,
            in_time,
            delta=0.1,
        )


class ForecastTest(base.TestCase):
    """The scenarios of the benchmark, as the plan sees them."""

    def assert_skipped(self, decision: planner.Plan | Skip) -> str:
        self.assertIsInstance(decision, Skip)
        self.assertEqual(Reason.NOT_WORTHWHILE, decision.reason)
        return decision.detail

    def test_a_freshly_booted_guest_is_skipped(self) -> None:
        detail = self.assert_skipped(
            make(3 * GIB + 512 * MIB, resident_kib=600 * MIB)
        )
        self.assertRegex(
            detail,
            r'^0 MiB of 2969 MiB are resident, which saves 0\.0 of '
            r'5\.0 s at 1000 Mbit/s \(configured\)$',
        )

    def seconds(self, plan: planner.Plan) -> float:
        plain_seconds = 4 * GIB / plan.bandwidth.kib_per_second
        return plain_seconds - plan.expected_saving_seconds

    def test_freed_memory_is_waited_for_and_not_carried(self) -> None:
        plan = make(3 * GIB, mode='before')
        self.assertAlmostEqual(
            plan.release_kib / RATE.inflate_kib_per_second
            + (4 * GIB - plan.release_kib) / GIGABIT.kib_per_second,
            self.seconds(plan),
        )

    def test_during_the_transfer_freed_memory_is_not_waited_for(self) -> None:
        # Nearly all of it is released before the transfer gets there, so that
        # only what the guest keeps is left, and QEMU's look through the rest.
        rate = ReleaseRate(inflate_kib_per_second=30 * GIB)
        plan = make(3 * GIB, mode='during', rate=rate)
        self.assertAlmostEqual(
            (4 * GIB - plan.release_kib) / GIGABIT.kib_per_second,
            self.seconds(plan),
            delta=0.1,
        )

    def test_on_a_path_as_fast_as_the_balloon_both_do_their_part(self) -> None:
        kib_per_second = RATE.inflate_kib_per_second * RATE.busy_share
        bandwidth = Bandwidth(kib_per_second, Origin.CONFIGURED)
        plan = make(
            4 * GIB - 1, bandwidth=bandwidth, headroom_percent=1, mode='during'
        )
        plain_seconds = 4 * GIB / kib_per_second
        # Less than half of it is spared: of what the balloon takes later on,
        # ever more has been sent; and QEMU looks through all of that.
        self.assertGreater(self.seconds(plan), plain_seconds / 2)
        self.assertLess(
            self.seconds(plan),
            plain_seconds * 0.6 + plan.release_kib / RATE.look_kib_per_second,
        )

    def test_of_what_is_released_late_most_has_been_sent(self) -> None:
        """What was sent in vain takes its time on the path."""
        left_kib, needed_kib = 1 * GIB, 1 * GIB
        at_path_rate = GIGABIT.kib_per_second
        quick, slow = (
            forecast.overlapping_seconds(
                left_kib, needed_kib, rate, GIGABIT, 1000 * GIB
            )
            for rate in (1000 * at_path_rate, at_path_rate)
        )
        self.assertAlmostEqual(needed_kib / at_path_rate, quick, delta=0.1)
        # To move both at the same time would take as long, if none were.
        self.assertGreater(slow, 1.1 * needed_kib / at_path_rate)

    def test_most_of_what_is_sent_early_is_released_afterwards(self) -> None:
        """As it was measured: 1180 of 1380 MiB were released in 3.2 s.

        505 MB were sent, 216 MB where the transfer waited for the release.
        """
        needed_kib = 200 * MIB
        seconds = forecast.overlapping_seconds(
            1180 * MIB, needed_kib, 369 * MIB, GIGABIT, 1000 * GIB
        )
        sent_kib = seconds * GIGABIT.kib_per_second
        self.assertGreater(sent_kib, 1.9 * needed_kib)
        self.assertLess(sent_kib * 1024, 505e6)

    def test_both_take_as_long_as_it_takes_step_by_step(self) -> None:
        path, step_seconds = GIGABIT.kib_per_second, 1e-3
        share = forecast.FAR_END_SHARE
        for needed_kib, rate in itertools.product(
            (0, 50 * MIB, 200 * MIB, 2 * GIB),
            (path / 100, path, 5 * path, 100 * path),
        ):
            left_kib = total_kib = 1 * GIB + needed_kib
            unsent_kib, seconds = float(total_kib), 0.0
            while unsent_kib > 0:
                released_kib = min(rate * step_seconds, left_kib - needed_kib)
                unsent_kib -= path * step_seconds + released_kib * (
                    share + (1 - share) * unsent_kib / max(1, left_kib)
                )
                left_kib -= released_kib
                seconds += step_seconds
            self.assertAlmostEqual(
                seconds,
                forecast.overlapping_seconds(
                    1 * GIB, needed_kib, rate, GIGABIT, 1e30
                ),
                delta=0.02 * seconds,
            )

    def test_qemu_looks_at_memory_as_fast_as_it_sends_it_at_least(
        self,
    ) -> None:
        path = Bandwidth(8 * GIB, Origin.CONFIGURED)
        guessed, told, faster = (
            forecast.overlapping_seconds(
                16 * GIB, 16 * GIB, 8 * GIB, path, look_kib_per_second
            )
            for look_kib_per_second in (2 * GIB, 8 * GIB, 16 * GIB)
        )
        self.assertEqual(told, guessed)
        self.assertLess(faster, told)

    def test_by_itself_it_waits_unless_much_is_won_by_not_waiting(
        self,
    ) -> None:
        slow = ReleaseRate(inflate_kib_per_second=100 * MIB)
        busy = ReleaseRate(busy_share=0.3)
        for rate, as_mode in ((busy, 'before'), (slow, 'during')):
            self.assertEqual(
                self.seconds(make(3 * GIB, mode=as_mode, rate=rate)),
                self.seconds(make(3 * GIB, rate=rate)),
            )

    def test_by_itself_the_mode_that_pays_is_taken(self) -> None:
        """At no bandwidth is a release skipped that pays in some mode."""
        for mbps in range(100, 12_000, 100):
            bandwidth = Bandwidth.of_mbps(mbps, Origin.CONFIGURED)
            before, during = (
                make(3 * GIB, bandwidth=bandwidth, mode=mode)
                for mode in ('before', 'during')
            )
            decision = make(3 * GIB, bandwidth=bandwidth)
            paying = [
                plan
                for plan in (before, during)
                if plan.expected_saving_seconds
                >= max(
                    forecast.LEAST_GAIN_SECONDS,
                    forecast.LEAST_GAIN_SHARE
                    * 4
                    * GIB
                    / bandwidth.kib_per_second,
                )
            ]
            self.assertEqual(
                bool(paying), isinstance(decision, planner.Plan), f'{mbps}'
            )

    def test_where_only_a_release_during_the_transfer_pays_it_does_that(
        self,
    ) -> None:
        rate = ReleaseRate(busy_share=1.0, look_kib_per_second=16 * GIB)
        bandwidth = Bandwidth.of_mbps(5500, Origin.CONFIGURED)
        plan = make(3 * GIB, bandwidth=bandwidth, rate=rate)
        self.assertEqual(Mode.DURING, plan.mode)
        before = make(3 * GIB, bandwidth=bandwidth, rate=rate, mode='before')
        self.assertLess(before.expected_saving_seconds, 0.3)

    def test_hosts_that_release_fast_do_so_on_fast_paths(self) -> None:
        """A guest of 64 GiB: by what is published for KVM, and faster."""
        memory = FreeMemory('agent', 64 * GIB, 48 * GIB)
        guest = Eligible(64 * GIB, 64 * GIB)
        for rate_kib_per_second, mbps in (
            (0.92 * GIB, 6_000),
            (0.92 * GIB, 10_000),
            (8 * GIB, 25_000),
            (30 * GIB, 100_000),
        ):
            plan = planner.make(
                memory,
                guest,
                make_policy(),
                Bandwidth.of_mbps(mbps, Origin.MEASURED),
                ReleaseRate(
                    rate_kib_per_second,
                    rate_kib_per_second,
                    busy_share=1.0,
                    look_kib_per_second=9 * GIB,
                ),
            )
            self.assertIsInstance(plan, planner.Plan, f'{mbps}')

    def test_where_waiting_takes_longer_than_no_plugin_it_does_not_wait(
        self,
    ) -> None:
        at_path_rate = GIGABIT.kib_per_second * 0.9
        self.assertTrue(
            forecast.transfer_now_is_better(
                1 * GIB, 3 * GIB, at_path_rate, GIGABIT, RATE, 120
            )
        )
        self.assertFalse(
            forecast.transfer_now_is_better(
                1 * GIB, 3 * GIB, 10 * at_path_rate, GIGABIT, RATE, 120
            )
        )

    def test_cold_cache_comes_more_slowly_than_free_memory(self) -> None:
        bandwidth = Bandwidth(RATE.inflate_kib_per_second, Origin.CONFIGURED)
        free = make(3 * GIB, bandwidth=bandwidth, mode='during')
        cold = make(
            256 * MIB,
            available_kib=3 * GIB,
            mode='during',
            cold_kib=3 * GIB - 256 * MIB,
            bandwidth=bandwidth,
        )
        self.assertEqual(free.release_kib, cold.release_kib)
        self.assertLess(
            cold.expected_saving_seconds, free.expected_saving_seconds
        )

    def test_fragments_are_resident_and_worth_it(self) -> None:
        # Free page reporting cannot return them: they are resident.
        plan = make(3 * GIB, resident_kib=3 * GIB + 700 * MIB)
        self.assertGreater(plan.expected_saving_kib, 2 * GIB)

    def test_reported_memory_saves_nothing(self) -> None:
        self.assert_skipped(make(3 * GIB, resident_kib=1 * GIB))

    def test_what_is_not_resident_comes_first_and_in_vain(self) -> None:
        plan = make(3 * GIB, resident_kib=2 * GIB + 512 * MIB)
        self.assertEqual(1 * GIB + 512 * MIB, plan.nonresident_kib)
        self.assertEqual(
            plan.release_kib - plan.nonresident_kib, plan.expected_saving_kib
        )

    def test_where_balloon_and_path_never_meet_nothing_is_saved(self) -> None:
        # The transfer has sent all that is resident before the balloon is
        # through with what is not.
        self.assert_skipped(
            make(3 * GIB, resident_kib=1 * GIB, bandwidth=FAST)
        )

    def test_a_full_guest_is_skipped(self) -> None:
        self.assertEqual(
            Reason.NOTHING_FREE,
            make(120 * MIB, available_kib=180 * MIB, cold_kib=40 * MIB).reason,
        )

    def test_a_fast_path_is_not_helped(self) -> None:
        self.assert_skipped(make(3 * GIB, bandwidth=FAST))

    def test_a_slow_guest_may_not_be_worthwhile(self) -> None:
        slow = ReleaseRate(inflate_kib_per_second=10 * MIB, is_fresh=True)
        self.assertIsInstance(make(3 * GIB), planner.Plan)
        self.assert_skipped(make(3 * GIB, rate=slow))

    def test_a_gain_too_small_to_foretell_is_none(self) -> None:
        # 100 MiB of 4 GiB is less than a tenth of the time.
        self.assert_skipped(make(KEEPS_KIB + 100 * MIB))


class AtBestTest(base.TestCase):
    """What the balloon driver's figures alone can tell."""

    def at_best(
        self,
        *,
        free_kib: int,
        resident_kib: int,
        bandwidth: Bandwidth = GIGABIT,
        reclaim: str = 'cold',
        mode: str = 'auto',
        holds_zeros: bool = False,
        **reported: int | None,
    ) -> Skip | None:
        figures = {
            'total_kib': 4 * GIB,
            'available_kib': 4 * GIB - 1,
            'page_cache_kib': 50 * MIB,
        }
        driver = MemoryStats(
            4 * GIB,
            resident_kib + QEMU_OWN_KIB,
            free_kib=free_kib,
            **(figures | reported),
        )
        return planner.cannot_pay(
            driver,
            Eligible(
                4 * GIB,
                resident_kib + QEMU_OWN_KIB,
                holds_zeros=holds_zeros,
            ),
            make_policy(reclaim=reclaim, mode=mode),
            bandwidth,
        )

    def test_a_freshly_booted_guest_needs_no_source(self) -> None:
        decision = self.at_best(
            free_kib=3 * GIB + 700 * MIB, resident_kib=300 * MIB
        )
        self.assertEqual(Reason.NOT_WORTHWHILE, decision.reason)

    def test_a_full_guest_needs_no_source(self) -> None:
        decision = self.at_best(free_kib=150 * MIB, resident_kib=4 * GIB)
        self.assertEqual(Reason.NOTHING_FREE, decision.reason)

    def test_on_a_path_that_needs_no_time_no_source_is_needed(self) -> None:
        decision = self.at_best(
            free_kib=3 * GIB, resident_kib=4 * GIB, bandwidth=FAST
        )
        self.assertEqual(Reason.NOT_WORTHWHILE, decision.reason)
        self.assertRegex(
            decision.detail,
            r'0\.2 of 0\.3 s at 100000 Mbit/s \(configured\)$',
        )

    def test_freed_memory_is_worth_a_question(self) -> None:
        self.assertIsNone(self.at_best(free_kib=3 * GIB, resident_kib=4 * GIB))

    def test_freed_memory_that_may_be_zeros_is_not(self) -> None:
        about = {'resident_kib': 4 * GIB, 'holds_zeros': True}
        self.assertEqual(
            Reason.NOT_WORTHWHILE,
            self.at_best(free_kib=3 * GIB, **about).reason,
        )
        self.assertIsNone(
            self.at_best(free_kib=1 * GIB, page_cache_kib=2 * GIB, **about)
        )

    def test_page_cache_that_may_be_cold_is_worth_one(self) -> None:
        about = {
            'free_kib': KEEPS_KIB + 45 * MIB,
            'resident_kib': 4 * GIB,
            'page_cache_kib': 2 * GIB,
        }
        self.assertIsNone(self.at_best(**about))
        self.assertEqual(
            Reason.NOT_WORTHWHILE, self.at_best(reclaim='free', **about).reason
        )

    def test_a_fixed_mode_is_skipped_for_too_little(self) -> None:
        self.assertIsNone(
            self.at_best(
                free_kib=3 * GIB,
                resident_kib=4 * GIB,
                bandwidth=FAST,
                mode='before',
            )
        )
        self.assertIsNotNone(
            self.at_best(
                free_kib=4 * GIB - 1, resident_kib=10 * MIB, mode='before'
            )
        )

    def test_free_memory_that_the_host_does_not_hold_hides_no_cache(
        self,
    ) -> None:
        # A source may report less free memory, and all of the rest as cache.
        about = {'free_kib': 3 * GIB, 'resident_kib': 2 * GIB}
        self.assertIsNone(
            self.at_best(reclaim='available', page_cache_kib=0, **about)
        )
        self.assertIsNone(self.at_best(page_cache_kib=3 * GIB, **about))

    def test_a_driver_that_reports_too_little_decides_nothing(self) -> None:
        for absent in ('total_kib', 'available_kib', 'page_cache_kib'):
            self.assertIsNone(
                self.at_best(
                    free_kib=150 * MIB, resident_kib=4 * GIB, **{absent: None}
                )
            )


kib = strategies.integers(0, 64 * GIB)
policies = strategies.builds(
    make_policy,
    mode=strategies.sampled_from(['auto', 'before', 'during']),
    reclaim=strategies.sampled_from(['free', 'cold', 'available']),
    headroom_percent=strategies.integers(1, 90),
    headroom_min_mib=strategies.integers(32, 4096),
)


class PlanPropertiesTest(base.TestCase):
    @hypothesis.given(
        actual_kib=kib,
        total_kib=kib,
        free_kib=kib,
        rss_kib=kib,
        available_kib=strategies.none() | kib,
        inactive_file_kib=strategies.none() | kib,
        unwritten_kib=strategies.none() | kib,
        windows=strategies.booleans(),
        policy=policies,
        migration_bandwidth_mbps=strategies.integers(1, 10**6),
    )
    def test_a_guest_always_keeps_its_headroom(
        self,
        actual_kib: int,
        total_kib: int,
        free_kib: int,
        rss_kib: int,
        windows: bool,
        policy: Policy,
        migration_bandwidth_mbps: int,
        **amounts_kib: int | None,
    ) -> None:
        total_kib = min(total_kib, actual_kib)
        free_kib = min(free_kib, total_kib)
        amounts_kib = {
            name: value
            if value is None
            else min(
                value,
                total_kib - (free_kib if name == 'inactive_file_kib' else 0),
            )
            for name, value in amounts_kib.items()
        }
        memory = FreeMemory('agent', total_kib, free_kib, **amounts_kib)
        plan = planner.make(
            memory,
            Eligible(actual_kib, rss_kib, windows),
            policy,
            Bandwidth.of_mbps(migration_bandwidth_mbps, Origin.CONFIGURED),
            RATE,
        )
        if isinstance(plan, Skip):
            return
        self.assertEqual(
            policy.headroom_kib(actual_kib, windows), plan.headroom_kib
        )
        self.assertGreaterEqual(plan.target_kib, plan.headroom_kib)
        self.assertLess(plan.target_kib, plan.original_kib)
        available_kib = amounts_kib['available_kib']
        if available_kib is not None:
            self.assertGreaterEqual(
                available_kib - plan.release_kib, plan.headroom_kib
            )
        self.assertLessEqual(plan.expected_saving_kib, plan.release_kib)
        self.assertGreaterEqual(
            plan.expected_saving_kib, policy.min_saving_mib * 1024
        )
        if plan.mode is Mode.AUTO:  # a fixed mode releases at any price
            self.assertGreater(plan.expected_saving_seconds, 0)

    @hypothesis.given(free_kib=kib, more_kib=kib)
    def test_more_free_never_takes_less(
        self, free_kib: int, more_kib: int
    ) -> None:
        def release_kib(amount_kib: int) -> int:
            plan = make(min(amount_kib, 4 * GIB))
            return plan.release_kib if isinstance(plan, planner.Plan) else 0

        self.assertLessEqual(
            release_kib(free_kib), release_kib(free_kib + more_kib)
        )

    @hypothesis.given(
        free_kib=strategies.integers(0, 4 * GIB),
        resident_kib=strategies.integers(0, 5 * GIB),
        migration_bandwidth_mbps=strategies.integers(1, 10**6),
    )
    def test_by_itself_nothing_is_done_that_would_not_pay(
        self, free_kib: int, resident_kib: int, migration_bandwidth_mbps: int
    ) -> None:
        bandwidth = Bandwidth.of_mbps(
            migration_bandwidth_mbps, Origin.CONFIGURED
        )
        plan = make(free_kib, resident_kib=resident_kib, bandwidth=bandwidth)
        if isinstance(plan, planner.Plan) and not plan.is_trial:
            self.assertGreaterEqual(
                plan.expected_saving_seconds, forecast.LEAST_GAIN_SECONDS
            )
            self.assertGreaterEqual(
                plan.expected_saving_seconds,
                forecast.LEAST_GAIN_SHARE
                * resident_kib
                / bandwidth.kib_per_second,
            )

    @hypothesis.given(
        driver=strategies.tuples(kib, kib, kib, kib),
        rss_kib=kib,
        less_kib=strategies.tuples(kib, kib, kib),
        unwritten_kib=kib,
        policy=policies,
        migration_bandwidth_mbps=strategies.integers(1, 10**6),
        rate=strategies.builds(
            ReleaseRate,
            inflate_kib_per_second=strategies.integers(MIB, 64 * GIB),
        ),
    )
    def test_without_a_source_it_would_be_skipped_whatever_one_said(
        self,
        driver: tuple[int, ...],
        rss_kib: int,
        less_kib: tuple[int, ...],
        unwritten_kib: int,
        policy: Policy,
        migration_bandwidth_mbps: int,
        rate: ReleaseRate,
    ) -> None:
        total_kib, free_kib, available_kib, cache_kib = (
            min(amount_kib, driver[0]) for amount_kib in driver
        )
        guest = Eligible(total_kib, rss_kib)
        bandwidth = Bandwidth.of_mbps(
            migration_bandwidth_mbps, Origin.CONFIGURED
        )
        told = MemoryStats(
            total_kib, rss_kib, total_kib, free_kib, available_kib, cache_kib
        )
        if planner.cannot_pay(told, guest, policy, bandwidth) is None:
            return
        said = FreeMemory(
            'agent',
            total_kib,
            max(0, free_kib - less_kib[0]),
            max(0, available_kib - less_kib[1]),
            inactive_file_kib=max(0, cache_kib - less_kib[2]),
            unwritten_kib=unwritten_kib,
        )
        self.assertIsInstance(
            planner.make(said, guest, policy, bandwidth, rate), Skip
        )

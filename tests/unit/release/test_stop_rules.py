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

"""When a release ends."""

import dataclasses
from typing import Any

import hypothesis
from hypothesis import strategies

from nova_freemem.plan.eligibility import QEMU_OWN_KIB
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.plan.transfer_meter import Sending
from nova_freemem.release import stop_rules
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Observation
from nova_freemem.release.base import Phase
from nova_freemem.release.requests import Request
from tests import base
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.simulation.fakes import make_plan

PLAN = make_plan(mode=Mode.DURING)


def end_reason(
    *released_mib: float,
    fall: float = 1.0,
    request: Request | None = None,
    deadline_passed: bool = False,
    plan: Plan = PLAN,
    every_seconds: float = 1.0,
    phase: Phase = Phase.DURING_TRANSFER,
    sending: Sending | None = None,
    may_stall: bool = False,
) -> EndReason | None:
    """Return why a release ends of which so much was done by each second.

    :param fall: share of it by which the resident size fell
    """
    return stop_rules.end_reason(
        [
            Observation(
                tick * every_seconds,
                4 * GIB - int(mib * MIB),
                4 * GIB - int(mib * MIB * fall),
            )
            for tick, mib in enumerate(released_mib)
        ],
        plan,
        phase,
        request,
        deadline_passed,
        sending,
        may_stall,
    )


class EndReasonTest(base.TestCase):
    def test_it_goes_on_while_the_guest_gives_up_memory(self) -> None:
        self.assertIsNone(end_reason(0))
        self.assertIsNone(end_reason(0, 400, 800))

    def test_it_ends_at_the_target(self) -> None:
        self.assertEqual(EndReason.TARGET_REACHED, end_reason(0, 3072))

    def test_a_mebibyte_off_is_at_the_target(self) -> None:
        self.assertIsNone(end_reason(0, 3070.9))
        self.assertEqual(EndReason.TARGET_REACHED, end_reason(0, 3071))
        self.assertEqual(EndReason.TARGET_REACHED, end_reason(0, 3073))

    def test_it_ends_once_nothing_of_it_is_resident(self) -> None:
        seen = [
            Observation(
                tick / 5,
                4 * GIB - tick * 100 * MIB,
                max(2 * GIB, 4 * GIB - tick * 100 * MIB),
            )
            for tick in range(25)
        ]
        used_kib = 2 * GIB - QEMU_OWN_KIB - stop_rules.NEAR_KIB
        plan = make_plan(used_kib=used_kib)
        self.assertIsNone(
            stop_rules.end_reason(
                seen[:21], plan, Phase.DURING_TRANSFER, None, False
            )
        )
        self.assertIsNone(
            stop_rules.end_reason(
                seen[:24], plan, Phase.DURING_TRANSFER, None, False
            )
        )
        self.assertEqual(
            EndReason.RESIDENT_RELEASED,
            stop_rules.end_reason(
                seen, plan, Phase.DURING_TRANSFER, None, False
            ),
        )
        far = make_plan(used_kib=used_kib - 1)
        self.assertIsNone(
            stop_rules.end_reason(
                seen, far, Phase.DURING_TRANSFER, None, False
            )
        )

    def test_it_ends_when_the_guest_gives_no_more(self) -> None:
        self.assertIsNone(end_reason(0, 400, 400))
        self.assertEqual(EndReason.NO_PROGRESS, end_reason(0, 400, 400, 400))

    def test_a_guest_that_gives_nothing_at_all_is_not_waited_for(self) -> None:
        self.assertEqual(EndReason.NO_PROGRESS, end_reason(0, 0, 0))

    def test_a_guest_that_auto_converge_slows_down_may_be_slow(self) -> None:
        self.assertIsNone(end_reason(0, 400, 400, 400, may_stall=True))
        self.assertEqual(
            EndReason.TRANSFER_ENDED,
            end_reason(
                *(0, 400, 400, 400),
                may_stall=True,
                request=Request.TRANSFER_ENDED,
            ),
        )

    def test_a_page_now_and_then_is_no_progress(self) -> None:
        self.assertEqual(
            EndReason.NO_PROGRESS, end_reason(0, 400, 403.9, 407.9)
        )
        self.assertIsNone(end_reason(0, 400, 404, 408))

    def test_progress_is_measured_over_time_not_over_looks(self) -> None:
        self.assertIsNone(end_reason(0, 400, 400, 400, 400, every_seconds=0.2))

    def test_it_ends_at_the_deadline(self) -> None:
        self.assertEqual(
            EndReason.DEADLINE, end_reason(0, 400, deadline_passed=True)
        )

    def test_it_ends_when_the_migration_is_forced_to_complete(self) -> None:
        self.assertEqual(
            EndReason.FORCE_COMPLETE,
            end_reason(0, 400, request=Request.FORCE_COMPLETE),
        )

    def test_having_arrived_outranks_what_else_would_end_it(self) -> None:
        self.assertEqual(
            EndReason.TARGET_REACHED,
            end_reason(
                0, 3072, request=Request.FORCE_COMPLETE, deadline_passed=True
            ),
        )

    def test_an_abort_and_a_shutdown_outrank_everything(self) -> None:
        for request, end in (
            (Request.ABORT, EndReason.ABORTED),
            (Request.SHUTDOWN, EndReason.SHUTDOWN),
        ):
            self.assertTrue(end.restores)
            for released_mib in (0, 3072, 3500, -500):
                self.assertEqual(
                    end,
                    end_reason(
                        0,
                        released_mib,
                        request=request,
                        deadline_passed=True,
                    ),
                )

    def test_a_balloon_that_somebody_else_moves_is_noticed(self) -> None:
        self.assertEqual(EndReason.NOT_OURS, end_reason(0, 3073.1))
        self.assertEqual(EndReason.NOT_OURS, end_reason(0, 3500))
        self.assertFalse(EndReason.NOT_OURS.restores)

    def test_a_resident_size_that_does_not_fall_is_no_effect(self) -> None:
        self.assertEqual(EndReason.NO_EFFECT, end_reason(0, 3072, fall=0))
        self.assertEqual(EndReason.NO_EFFECT, end_reason(0, 3072, fall=0.09))
        self.assertEqual(
            EndReason.TARGET_REACHED, end_reason(0, 3072, fall=0.11)
        )
        self.assertEqual(
            EndReason.NO_EFFECT,
            end_reason(0, 400, fall=0, deadline_passed=True),
        )

    def test_it_is_not_judged_by_a_little(self) -> None:
        self.assertEqual(
            EndReason.DEADLINE,
            end_reason(0, 255, fall=0, deadline_passed=True),
        )

    def test_nonresident_memory_need_have_no_effect(self) -> None:
        plan = make_plan(nonresident_kib=2 * GIB)
        self.assertEqual(
            EndReason.DEADLINE,
            end_reason(0, 2048, fall=0, deadline_passed=True, plan=plan),
        )
        self.assertEqual(
            EndReason.NO_EFFECT,
            end_reason(0, 2400, fall=0, deadline_passed=True, plan=plan),
        )

    def test_it_ends_with_the_transfer(self) -> None:
        self.assertEqual(
            EndReason.TRANSFER_ENDED,
            end_reason(0, 400, request=Request.TRANSFER_ENDED),
        )

    def test_it_ends_with_post_copy_even_where_it_has_all(self) -> None:
        for released in (400, 3072):
            self.assertEqual(
                EndReason.POST_COPY,
                end_reason(0, released, request=Request.POST_COPY),
            )

    def test_what_restores_at_once(self) -> None:
        self.assertEqual(
            {
                EndReason.ABORTED,
                EndReason.GREW,
                EndReason.KILLED,
                EndReason.SILENT,
                EndReason.SHUTDOWN,
                EndReason.NO_EFFECT,
                EndReason.PRESSURE,
                EndReason.POST_COPY,
                EndReason.COPYING_DISKS,
            },
            {end for end in EndReason if end.restores},
        )

    def test_no_two_ends_read_the_same(self) -> None:
        self.assertEqual(len(EndReason), len({end.value for end in EndReason}))

    @hypothesis.given(
        strategies.lists(strategies.floats(0, 3000), min_size=2, max_size=60),
        strategies.sampled_from([None, *Request]),
        strategies.booleans(),
    )
    def test_a_passed_deadline_or_a_request_ends_it_in_any_case(
        self,
        released_mib: list[float],
        request: Request | None,
        deadline_passed: bool,
    ) -> None:
        end = end_reason(
            *released_mib, request=request, deadline_passed=deadline_passed
        )
        if request is not None or deadline_passed:
            self.assertIsNotNone(end)


class TransferHadBetterStartTest(base.TestCase):
    """When a transfer that waits had better start."""

    # 1 of 4 GiB has to be transferred, which takes 8.6 s.
    plan = make_plan(mode=Mode.AUTO, used_kib=1 * GIB)

    def end_reason(
        self, *released_mib: float, **more: Any
    ) -> EndReason | None:
        return end_reason(
            *released_mib,
            **{'plan': self.plan, 'phase': Phase.BEFORE_TRANSFER} | more,
        )

    def test_a_guest_that_gives_fast_is_waited_for(self) -> None:
        little = make_plan(mode=Mode.AUTO, used_kib=100 * MIB)
        self.assertIsNone(self.end_reason(0, 1000, 2000, plan=little))

    def test_a_slow_guest_had_better_be_helped_by_the_path(
        self,
    ) -> None:
        self.assertEqual(EndReason.NEARLY_DONE, self.end_reason(0, 200, 400))

    def test_one_that_slows_down_is_helped_from_then_on(self) -> None:
        little = make_plan(mode=Mode.AUTO, used_kib=100 * MIB)
        self.assertIsNone(self.end_reason(0, 1000, plan=little))
        self.assertEqual(
            EndReason.NEARLY_DONE, self.end_reason(0, 1000, 1100, plan=little)
        )

    def test_it_starts_when_about_a_second_is_left(self) -> None:
        little = make_plan(mode=Mode.AUTO, used_kib=100 * MIB)
        self.assertIsNone(self.end_reason(0, 1000, 2000, plan=little))
        self.assertEqual(
            EndReason.NEARLY_DONE, self.end_reason(0, 1000, 2100, plan=little)
        )

    def test_what_is_left_is_what_is_resident_of_it(self) -> None:
        plan = make_plan(mode=Mode.AUTO, used_kib=3 * GIB - QEMU_OWN_KIB)
        self.assertEqual(
            EndReason.NEARLY_DONE, self.end_reason(0, 600, 1100, plan=plan)
        )

    def test_a_guest_that_gives_nothing_is_not_helped_by_a_transfer(
        self,
    ) -> None:
        self.assertIsNone(self.end_reason(0, 1200, 1200))

    def test_what_would_not_be_released_in_time_is_not_waited_for(
        self,
    ) -> None:
        """At 500 MiB/s the rest takes 5 s."""
        for deadline_seconds, expected in (
            (10, None),
            (3, EndReason.NEARLY_DONE),
        ):
            plan = make_plan(
                mode=Mode.AUTO,
                used_kib=10 * MIB,
                deadline_seconds=deadline_seconds,
                rate=ReleaseRate(busy_share=0.3),
            )
            self.assertEqual(
                expected, self.end_reason(0, 500, 1000, plan=plan)
            )

    def test_page_cache_that_is_to_come_is_slower(self) -> None:
        """What the balloon gets now is free; 1.5 of 3 GiB are not."""
        for cold_kib, expected in (
            (0, EndReason.NEARLY_DONE),
            (1536 * MIB, None),  # The guest has dropped it.
        ):
            plan = make_plan(
                mode=Mode.AUTO,
                used_kib=1636 * MIB,
                free_kib=1536 * MIB,
                cold_kib=cold_kib,
                rate=ReleaseRate(600 * MIB, 100 * MIB, busy_share=1.0),
            )
            self.assertEqual(expected, self.end_reason(0, 500, plan=plan))

    def test_what_saves_nothing_and_is_to_come_is_not_waited_for(
        self,
    ) -> None:
        """1 of 3.4 GiB is resident; the guest shows whether it comes first."""
        for fall, expected in ((0.8, None), (0.0, EndReason.NEARLY_DONE)):
            plan = make_plan(
                mode=Mode.AUTO,
                original_kib=12 * GIB,
                free_kib=12 * GIB - 128 * MIB,
                guest_free_kib=9 * GIB,
                used_kib=3 * GIB,
                target_kib=128 * MIB,
                nonresident_kib=8 * GIB,
                rate=ReleaseRate(busy_share=1.0),
            )
            self.assertEqual(
                expected,
                self.end_reason(0, 500, fall=fall, plan=plan),
                fall,
            )

    def test_who_wants_the_fewest_bytes_waits_however_slow_it_is(self) -> None:
        self.assertIsNone(
            self.end_reason(0, 400, 500, 600, plan=make_plan(mode=Mode.BEFORE))
        )


class NotWorthwhileTest(base.TestCase):
    """A release during a transfer, of which it is seen what the path carries.

    QEMU looks through 2 GiB a second; 3 of the guest's 4 GiB are resident and
    left to be sent.
    """

    rate = ReleaseRate(look_kib_per_second=2 * GIB)

    def end_reason(
        self,
        *released_mib: float,
        path_kib_per_second: float,
        remaining_kib: float = 3 * GIB,
        every_seconds: float = 1.0,
        fall: float = 1.0,
        **plan: Any,
    ) -> EndReason | None:
        return end_reason(
            *released_mib,
            fall=fall,
            every_seconds=every_seconds,
            plan=make_plan(
                **{'goes_on_if_it_pays': True, 'rate': self.rate} | plan
            ),
            sending=Sending(path_kib_per_second, remaining_kib),
        )

    def test_it_goes_on_where_the_path_is_slower_than_a_look(self) -> None:
        self.assertIsNone(
            self.end_reason(0, 300, 600, path_kib_per_second=1 * GIB)
        )

    def test_it_ends_where_the_path_is_faster_than_a_look(self) -> None:
        self.assertEqual(
            EndReason.NOT_WORTHWHILE,
            self.end_reason(0, 300, 600, path_kib_per_second=3 * GIB),
        )

    def test_it_ends_where_most_has_been_sent(self) -> None:
        self.assertEqual(
            EndReason.NOT_WORTHWHILE,
            self.end_reason(
                0,
                300,
                600,
                path_kib_per_second=1 * GIB,
                remaining_kib=256 * MIB,
            ),
        )

    def test_it_ends_where_nothing_resident_is_released_in_time(self) -> None:
        """2 GiB come first that are not; they take 7 s, and the rest 3 s."""
        for nonresident_kib, fall, expected in (
            (512 * MIB, 0.0, None),
            (2 * GIB, 0.0, EndReason.NOT_WORTHWHILE),
            # It is seen that they do not come first.
            (2 * GIB, 1.0, None),
        ):
            self.assertEqual(
                expected,
                self.end_reason(
                    0,
                    300,
                    600,
                    path_kib_per_second=1 * GIB,
                    nonresident_kib=nonresident_kib,
                    fall=fall,
                ),
            )

    def test_of_what_little_a_slow_guest_gives_up_it_is_not_known_what_it_was(
        self,
    ) -> None:
        for released_mib, expected in (
            (127, None),
            (129, EndReason.NOT_WORTHWHILE),
        ):
            self.assertEqual(
                expected,
                self.end_reason(
                    0,
                    released_mib,
                    path_kib_per_second=1 * GIB,
                    nonresident_kib=2 * GIB,
                    fall=0.0,
                ),
            )

    def test_what_was_only_tried_ends_where_it_gains_little(self) -> None:
        for fall, is_trial, expected in (
            (0.49, True, EndReason.NOT_WORTHWHILE),
            (0.51, True, None),
            (0.49, False, None),
        ):
            self.assertEqual(
                expected,
                self.end_reason(
                    0,
                    300,
                    path_kib_per_second=100 * MIB,
                    fall=fall,
                    is_trial=is_trial,
                ),
            )

    def test_it_ends_where_it_would_save_less_than_it_costs(self) -> None:
        """The last of 3 GiB is sent as the first resident memory comes."""
        for path_mib_per_second, expected in (
            (400, None),
            (520, EndReason.NOT_WORTHWHILE),
        ):
            self.assertEqual(
                expected,
                self.end_reason(
                    0,
                    300,
                    path_kib_per_second=path_mib_per_second * MIB,
                    nonresident_kib=1900 * MIB,
                    fall=0,
                ),
                path_mib_per_second,
            )

    def test_within_its_first_tenths_it_is_not_judged(self) -> None:
        self.assertIsNone(
            self.end_reason(
                0, 60, 120, path_kib_per_second=3 * GIB, every_seconds=0.2
            )
        )

    def test_where_the_operator_wants_it_it_goes_on(self) -> None:
        self.assertIsNone(
            self.end_reason(
                0,
                300,
                600,
                path_kib_per_second=3 * GIB,
                goes_on_if_it_pays=False,
            )
        )

    def test_it_keeps_what_was_released(self) -> None:
        self.assertFalse(EndReason.NOT_WORTHWHILE.restores)


def seen(
    *figures: tuple[int, int | None, int | None], free_mib: int | None = None
) -> list[Observation]:
    """:param figures: released MiB, available MiB, swapped out KiB"""
    return [
        Observation(
            second,
            4 * GIB - released_mib * MIB,
            4 * GIB - released_mib * MIB,
            None if available_mib is None else available_mib * MIB,
            swapped_kib,
            None if free_mib is None else free_mib * MIB,
        )
        for second, (released_mib, available_mib, swapped_kib) in enumerate(
            figures
        )
    ]


class PressureTest(base.TestCase):
    def assert_pressure(
        self, expected: bool, *figures: tuple[int, int | None, int | None]
    ) -> None:
        self.assertEqual(
            expected, stop_rules.under_pressure(seen(*figures), PLAN)
        )
        end = stop_rules.end_reason(
            seen(*figures), PLAN, Phase.DURING_TRANSFER, None, False
        )
        self.assertEqual(expected, end is EndReason.PRESSURE)

    def test_less_available_than_the_headroom(self) -> None:
        self.assert_pressure(False, (0, 3600, 0), (3000, 204, 0))
        self.assert_pressure(True, (0, 3600, 0), (3000, 203, 0))

    def test_a_guest_that_does_not_say_what_is_available(self) -> None:
        self.assert_pressure(False, (0, None, None), (3000, None, None))

    def test_what_was_released_since_it_reported_is_not_available(
        self,
    ) -> None:
        self.assert_pressure(False, (0, 900, 0), (600, 900, 0), (690, 900, 0))
        self.assert_pressure(True, (0, 900, 0), (600, 900, 0), (700, 900, 0))

    def test_what_was_released_before_it_reported_is_known_to_it(self) -> None:
        self.assert_pressure(False, (0, 900, 0), (600, 300, 0), (690, 300, 0))

    def killed(self, *kills: int | None, available_mib: int) -> object:
        """:returns: why all memory is restored, after these numbers"""
        figures = [(0, available_mib, 0)] * len(kills)
        return stop_rules.restoring_reason(
            [
                dataclasses.replace(one, oom_kills=count)
                for one, count in zip(seen(*figures), kills, strict=True)
            ],
            PLAN,
        )

    def test_a_guest_whose_kernel_kills_is_restored(self) -> None:
        for kills, end in (
            ((None, 3, 3), None),
            ((None, 3, 4), EndReason.KILLED),
            ((3, 4, None), EndReason.KILLED),
            ((3, 0, 0), None),  # booted again
            ((None, None, None), None),
        ):
            self.assertEqual(
                end, self.killed(*kills, available_mib=3000), kills
            )

    def test_one_that_kills_and_has_little_is_under_pressure(self) -> None:
        # A container at its own limit is killed in any guest.
        for available_mib, end in (
            (407, EndReason.PRESSURE),
            (408, EndReason.KILLED),
        ):
            self.assertEqual(
                end, self.killed(3, 4, available_mib=available_mib)
            )

    def silent(self, *stamps: int | None) -> object:
        """:param stamps: of what the guest reported, each two seconds"""
        earlier, observations = None, []
        for number, stamp in enumerate(stamps):
            earlier = Observation(
                2.0 * number,
                4 * GIB,
                4 * GIB,
                3 * GIB,
                0,
                last_update_seconds=stamp,
            ).after(earlier)
            observations.append(earlier)
        # What is in between is dropped in a long transfer.
        return stop_rules.restoring_reason(
            [observations[0], observations[-1]], PLAN
        )

    def test_a_guest_that_stops_reporting_is_restored(self) -> None:
        self.assertEqual(EndReason.SILENT, self.silent(6, 7, *[8] * 6))
        for stamps in (
            (6, 7, *[8] * 5),  # it is late
            (*[8] * 5, 9, 9),
            (8, 6, 8, 6, 8, 6, 8),  # the host's clock is moved
            [None] * 20,  # it has no stamps
        ):
            self.assertIsNone(self.silent(*stamps), stamps)

    def test_a_guest_that_swaps_out_and_has_little(self) -> None:
        self.assert_pressure(True, (0, 600, 0), (200, 400, 1024))
        self.assert_pressure(False, (0, 600, 0), (200, 400, 1023))

    def test_a_guest_that_swaps_out_and_does_not_say_what_it_has(self) -> None:
        self.assert_pressure(True, (0, None, 0), (200, None, 1024))

    def test_a_container_at_its_limit_is_not_the_guest(self) -> None:
        # Seen with zram and 3 GiB free.
        self.assert_pressure(False, (0, 3600, 0), (600, 3000, 8))
        self.assert_pressure(False, (0, 3600, 0), (600, 3000, 50_000))

    def test_a_release_ends_where_the_guest_swaps_with_plenty_left(
        self,
    ) -> None:
        for swapped_kib, end in ((1023, None), (1024, EndReason.SWAPS_OUT)):
            self.assertEqual(
                end,
                stop_rules.end_reason(
                    seen((0, 3600, 0), (600, 3000, swapped_kib)),
                    PLAN,
                    Phase.DURING_TRANSFER,
                    None,
                    False,
                ),
            )
        self.assertFalse(EndReason.SWAPS_OUT.restores)

    def ends(
        self, plan: Plan, *last: Observation
    ) -> tuple[EndReason | None, EndReason | None]:
        """:returns: why a release ends, and why it is not held after it"""
        observations = [*seen((0, 3600, 0), (600, 3000, 0)), *last]
        return (
            stop_rules.end_reason(
                observations, plan, Phase.DURING_TRANSFER, None, False
            ),
            stop_rules.end_of_hold(observations, plan),
        )

    def test_a_guest_that_reads_a_quarter_again_has_it_back(self) -> None:
        plan = dataclasses.replace(PLAN, free_kib=2 * GIB, cold_kib=2 * GIB)
        (last,) = seen((900, 2700, 0))
        for reread_kib, end in (
            (None, None),
            (512 * MIB - 1, None),
            (512 * MIB, EndReason.READS_AGAIN),
        ):
            one = dataclasses.replace(
                last, at_seconds=2, reread_kib=reread_kib
            )
            self.assertEqual((end, end), self.ends(plan, one), reread_kib)
        # It gets it in the transfer, which need not wait for that.
        self.assertFalse(EndReason.READS_AGAIN.restores)

    def test_little_page_cache_is_not_judged_by_what_is_read_again(
        self,
    ) -> None:
        plan = dataclasses.replace(PLAN, free_kib=PLAN.release_kib - 255 * MIB)
        (last,) = seen((900, 2700, 0))
        one = dataclasses.replace(last, at_seconds=2, reread_kib=4 * GIB)
        self.assertEqual((None, None), self.ends(plan, one))

    def test_a_guest_that_waits_for_its_disks_and_has_little(self) -> None:
        end = EndReason.READS_AGAIN
        for available_mib, faults, expected in (
            (407, 255, None),
            (407, 256, end),
            (407, None, None),
            # A program that starts.
            (408, 5000, None),
        ):
            earlier, last = (
                dataclasses.replace(one, at_seconds=2 + second)
                for second, one in enumerate(
                    seen((990, available_mib, 0), (990, available_mib, 0))
                )
            )
            self.assertEqual(
                (expected, expected),
                self.ends(
                    PLAN,
                    dataclasses.replace(earlier, major_faults=1000),
                    dataclasses.replace(
                        last, major_faults=faults and 1000 + faults
                    ),
                ),
                (available_mib, faults),
            )

    def test_what_is_free_is_watched_where_nothing_is_called_available(
        self,
    ) -> None:
        for free_mib, expected in ((204, False), (203, True)):
            self.assertEqual(
                expected,
                stop_rules.under_pressure(
                    seen((3000, None, 0), free_mib=free_mib), PLAN
                ),
            )

    def test_what_is_free_is_watched_where_available_is_something_else(
        self,
    ) -> None:
        windows = dataclasses.replace(PLAN, watches_free=True)
        figures = seen((3000, 2000, 0), free_mib=203)
        self.assertTrue(stop_rules.under_pressure(figures, windows))
        self.assertFalse(stop_rules.under_pressure(figures, PLAN))

    def test_what_it_swapped_out_before_does_not_count(self) -> None:
        self.assert_pressure(
            False, (0, None, None), (0, 3600, 4096), (1000, 2600, 4096)
        )

    def test_a_guest_that_grows_by_itself(self) -> None:
        self.assert_pressure(
            False, (0, None, 0), (1000, None, 0), (999, None, 0)
        )
        self.assert_pressure(
            True, (0, None, 0), (1000, None, 0), (998, None, 0)
        )

    def test_a_guest_that_grows_by_itself_with_its_headroom_left(self) -> None:
        for left_mib, end in (
            (204, EndReason.GREW),
            (203, EndReason.PRESSURE),
        ):
            self.assertEqual(
                end,
                stop_rules.end_reason(
                    seen((0, 3600, 0), (1000, 2600, 0), (900, left_mib, 0)),
                    PLAN,
                    Phase.DURING_TRANSFER,
                    None,
                    False,
                ),
            )
        self.assertTrue(EndReason.GREW.restores)

    def test_a_guest_that_grows_little_by_little(self) -> None:
        self.assert_pressure(
            True,
            (1000, None, 0),
            (1000, None, 0),
            (999, None, 0),
            (998, None, 0),
        )

    def test_it_outranks_the_target_and_all_requests_but_an_abort(
        self,
    ) -> None:
        figures = seen((0, 3600, 0), (3072, 100, 0))
        for request in (None, Request.FORCE_COMPLETE, Request.TRANSFER_ENDED):
            self.assertEqual(
                EndReason.PRESSURE,
                stop_rules.end_reason(
                    figures, PLAN, Phase.DURING_TRANSFER, request, True
                ),
            )
        self.assertEqual(
            EndReason.ABORTED,
            stop_rules.end_reason(
                figures, PLAN, Phase.DURING_TRANSFER, Request.ABORT, True
            ),
        )

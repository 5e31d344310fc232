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

"""Which figures of a guest are plausible, and what they add up to."""

import dataclasses

from nova_freemem import exceptions
from nova_freemem.acquire.free_memory import CommitLimit
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.acquire.free_memory import NodeMemory
from nova_freemem.virt.memory_stats import MemoryStats
from tests import base
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

PLAUSIBLE = FreeMemory('first', 4 * GIB, 3 * GIB)


class CheckTest(base.TestCase):
    def assert_refused(
        self, problem: str, *figures: object, **more: object
    ) -> None:
        memory = FreeMemory('agent', *figures, **more)
        error = self.assertRaises(
            exceptions.SourceUnavailable, memory.check, 4 * GIB
        )
        self.assertEqual(f'agent: the guest reports {problem}', str(error))

    def test_plausible_figures_pass(self) -> None:
        for figures, blocks in (
            ((4 * GIB, 3 * GIB), None),
            ((4 * GIB, 0, 0, 0, 0, 0), ()),
            ((1, 1, 1, 1, 1, 1), ((4, 1),)),
            ((4 * GIB, 1, 4 * GIB, 1), ((4096, 1024),)),
        ):
            FreeMemory('agent', *figures, free_blocks=blocks).check(4 * GIB)

    def test_an_impossible_total(self) -> None:
        for total_kib, shown in (
            (0, '0'),
            (-5, '-5'),
            (8 * GIB, '8.38861e+06'),
        ):
            self.assert_refused(
                f'a total of {shown} KiB where at most 4194304 KiB is '
                'possible',
                total_kib,
                0,
            )

    def test_more_free_than_there_is(self) -> None:
        self.assert_refused(
            'free of 2048 KiB where at most 1024 KiB is possible',
            1 * MIB,
            2 * MIB,
        )
        self.assert_refused(
            'free of -1 KiB where at most 1024 KiB is possible', 1 * MIB, -1
        )

    def test_more_available_than_there_is(self) -> None:
        self.assert_refused(
            'available of 2048 KiB where at most 1024 KiB is possible',
            1 * MIB,
            0,
            2 * MIB,
        )

    def test_more_page_cache_than_there_is(self) -> None:
        self.assert_refused(
            'page cache of 2048 KiB where at most 1024 KiB is possible',
            1 * MIB,
            0,
            None,
            2 * MIB,
        )

    def test_more_free_blocks_than_there_is_memory(self) -> None:
        self.assert_refused(
            'free blocks of 4.1984e+06 KiB where at most 4194304 KiB is '
            'possible',
            4 * GIB,
            0,
            free_blocks=((4096, 1025),),
        )

    def test_nodes_that_cannot_be(self) -> None:
        for what, value, figures in (
            ('free', -1, (-1, 0, 0, 0)),
            ('free', 2048, (2 * MIB, -1 * MIB, 0, 0)),
            ('unwritten', -1, (0, 0, 0, -1)),
            ('cold', 2048, (0, 0, 2 * MIB, 0)),
            ('free and cold', 1536, (1 * MIB, 0, 512, 0)),
        ):
            self.assert_refused(
                f'{what} on a node of {value} KiB where at most 1024 KiB is'
                ' possible',
                4 * MIB,
                0,
                nodes=(NodeMemory(1 * MIB, *figures),),
            )

    def test_a_commit_limit_that_no_machine_has(self) -> None:
        for limit_kib, committed_kib, shown in (
            (1 << 1100, 0, '9.22337e+18'),
            (1 * GIB, -1, '-1'),
        ):
            self.assert_refused(
                f'a commit limit of {shown} KiB where at most '
                '9223372036854775807 KiB is possible',
                1 * MIB,
                0,
                commit=CommitLimit(limit_kib, committed_kib, 0.5),
            )

    def test_more_cold_or_unwritten_cache_than_there_is(self) -> None:
        self.assert_refused(
            'inactive file of 2048 KiB where at most 1024 KiB is possible',
            1 * MIB,
            0,
            None,
            None,
            2 * MIB,
        )
        self.assert_refused(
            'unwritten of -1 KiB where at most 1024 KiB is possible',
            1 * MIB,
            0,
            None,
            None,
            None,
            -1,
        )

    def test_more_free_and_cold_together_than_there_is(self) -> None:
        # Each is possible, both are not: the plan for a guest that reported
        # it left less than nothing.
        self.assert_refused(
            'free and cold of 2000 KiB where at most 1024 KiB is possible',
            1 * MIB,
            1000,
            None,
            None,
            1000,
            0,
        )

    def test_figures_of_any_size_make_a_short_message(self) -> None:
        self.assert_refused(
            'a total of 9.22337e+18 KiB where at most 4194304 KiB is possible',
            10**400,
            0,
        )
        self.assert_refused(
            'free of -9.22337e+18 KiB where at most 1024 KiB is possible',
            1 * MIB,
            -(10**400),
        )


class LimitedByTest(base.TestCase):
    """The figures of the agent, next to those of the balloon driver."""

    def test_totals_that_differ_are_refused(self) -> None:
        error = self.assertRaises(
            exceptions.SourceUnavailable,
            PLAUSIBLE.limited_by,
            MemoryStats(4 * GIB, total_kib=2 * GIB),
        )
        self.assertEqual(
            'first: the guest reports a total of 4.1943e+06 KiB, and its '
            'balloon driver 2.09715e+06 KiB',
            str(error),
        )

    def test_of_two_figures_the_smaller_counts(self) -> None:
        claimed = dataclasses.replace(PLAUSIBLE, available_kib=3 * GIB)
        driver = MemoryStats(
            4 * GIB,
            total_kib=4 * GIB - 4,
            free_kib=1 * GIB,
            available_kib=2 * GIB,
        )
        memory = claimed.limited_by(driver)
        self.assertEqual(
            (1 * GIB, 2 * GIB), (memory.free_kib, memory.available_kib)
        )
        self.assertEqual(
            memory,
            memory.limited_by(
                dataclasses.replace(
                    driver, free_kib=3 * GIB, available_kib=3 * GIB
                )
            ),
        )

    def test_only_what_is_free_is_available_where_no_more_can_be_watched(
        self,
    ) -> None:
        driver = MemoryStats(4 * GIB, free_kib=512 * MIB)
        for available_kib in (None, 3 * GIB):
            claimed = dataclasses.replace(
                PLAUSIBLE, available_kib=available_kib
            )
            self.assertEqual(
                512 * MIB, claimed.limited_by(driver).available_kib
            )

    def test_a_driver_that_reports_nothing_changes_nothing(self) -> None:
        self.assertEqual(
            PLAUSIBLE,
            PLAUSIBLE.limited_by(MemoryStats(4 * GIB, available_kib=1 * GIB)),
        )


class ColdCacheTest(base.TestCase):
    def cold_cache_kib(
        self, inactive_kib: int | None, unwritten_kib: int | None
    ) -> int:
        return FreeMemory(
            'agent',
            4 * GIB,
            0,
            inactive_file_kib=inactive_kib,
            unwritten_kib=unwritten_kib,
        ).cold_cache_kib

    def test_what_has_to_be_written_first_is_not_cold(self) -> None:
        self.assertEqual(900 * MIB, self.cold_cache_kib(1000 * MIB, 100 * MIB))
        self.assertEqual(0, self.cold_cache_kib(100 * MIB, 1000 * MIB))

    def test_what_is_not_reported_is_not_known_to_be_cold(self) -> None:
        self.assertEqual(0, self.cold_cache_kib(None, 0))
        self.assertEqual(0, self.cold_cache_kib(1000 * MIB, None))

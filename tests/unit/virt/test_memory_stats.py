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

"""What libvirt's statistics of a balloon say, and what they lack."""

import dataclasses
from typing import Any

import hypothesis
from hypothesis import strategies

from nova_freemem.virt.memory_stats import MemoryStats
from tests import base


class MemoryStatsTest(base.TestCase):
    def test_all_figures_are_read_by_their_names(self) -> None:
        self.assertEqual(
            MemoryStats(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
            MemoryStats.from_libvirt(
                {
                    'actual': 1,
                    'rss': 2,
                    'available': 3,
                    'unused': 4,
                    'usable': 5,
                    'disk_caches': 6,
                    'swap_out': 7,
                    'minor_fault': 8,
                    'last_update': 10,
                    'swap_in': 11,
                    'major_fault': 9,
                }
            ),
        )

    def test_what_the_guest_has_not_reported_is_absent_not_zero(self) -> None:
        self.assertEqual(
            MemoryStats(actual_kib=1, rss_kib=2),
            MemoryStats.from_libvirt(
                {'actual': 1, 'rss': 2, 'last_update': 0}
            ),
        )

    def test_only_the_guests_own_figures_tell_two_reports_apart(self) -> None:
        stats = MemoryStats(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
        for name in vars(stats):
            other = dataclasses.replace(stats, **{name: 0})
            self.assertEqual(
                name in ('actual_kib', 'rss_kib'),
                other.is_same_report(stats),
                name,
            )

    def test_what_is_not_an_amount_is_absent(self) -> None:
        for value in (
            None,
            True,
            '5',
            -1,
            2.5,
            [],
            float('nan'),
            1 << 64,
            10**400,
        ):
            self.assertEqual(
                MemoryStats(actual_kib=1),
                MemoryStats.from_libvirt(
                    {
                        'actual': 1,
                        'rss': value,
                        'unused': value,
                        'available': value,
                        'last_update': value,
                    }
                ),
            )

    def test_without_actual_there_is_no_balloon(self) -> None:
        for stats in ({}, {'rss': 2}, {'actual': None}, {'actual': True}):
            self.assertIsNone(MemoryStats.from_libvirt(stats))

    @hypothesis.given(
        strategies.dictionaries(
            strategies.sampled_from(
                [
                    'actual',
                    'rss',
                    'unused',
                    'usable',
                    'available',
                    'last_update',
                    'swap_out',
                ]
            ),
            strategies.none()
            | strategies.booleans()
            | strategies.integers()
            | strategies.floats()
            | strategies.text(),
        )
    )
    def test_whatever_comes_is_read(self, stats: dict[str, Any]) -> None:
        read = MemoryStats.from_libvirt(stats)
        for value in vars(read).values() if read else ():
            self.assertTrue(value is None or value >= 0)

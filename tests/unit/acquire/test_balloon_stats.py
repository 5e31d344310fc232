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

"""What the balloon driver reports where there is no agent."""

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire.free_memory import FreeMemory
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


class BalloonStatsTest(GuestTestCase):
    def ask(self) -> FreeMemory:
        return balloon_stats.BalloonStats('balloon_stats', 5).acquire(
            self.domain, self.clock, clocks.Deadline(self.clock, 120)
        )

    def problem(self) -> str:
        return str(self.assertRaises(exceptions.SourceUnavailable, self.ask))

    def test_the_driver_reports_amounts_but_no_blocks(self) -> None:
        self.guest.tells = {'page_cache_kib': 17}
        self.assertEqual(
            FreeMemory(
                'balloon_stats',
                4 * GIB,
                3 * GIB + 512 * MIB,
                3 * GIB + 512 * MIB,
                17,
            ),
            self.ask(),
        )

    def test_stale_statistics_are_no_answer(self) -> None:
        self.guest.has_driver = False
        self.assertEqual(
            'balloon_stats: the balloon driver did not update its statistics '
            'within 1 s',
            self.problem(),
        )

    def test_missing_statistics_are_no_answer(self) -> None:
        for missing in ('total_kib', 'free_kib'):
            self.guest.tells = {missing: None}
            self.assertEqual(
                'balloon_stats: the balloon statistics lack '
                'total or free memory',
                self.problem(),
            )

    def test_an_old_driver_does_not_report_what_is_available(self) -> None:
        self.guest.tells = {'available_kib': None}
        self.assertIsNone(self.ask().available_kib)

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

"""What an oracle would take, in numbers that one can work out by hand."""

from tests import base
from tests.bench import oracle
from tests.bench import scenarios


class OracleTest(base.TestCase):
    def of(
        self, name: str, memory_mib: int = 4096, mbps: float = 1000
    ) -> oracle.Oracle:
        return oracle.of(scenarios.SCENARIOS[name], memory_mib, mbps)

    def test_a_slow_path_takes_what_is_needed_as_long_as_it_takes(
        self,
    ) -> None:
        found = self.of('full', mbps=100)
        # 195 MiB and seven eighths of 4 GiB at 12.5 MB/s.
        self.assertAlmostEqual(3963e6 / 12.5e6, found.seconds, delta=0.1)

    def test_a_quick_path_waits_for_qemu_to_look_through_memory(self) -> None:
        self.assertEqual(1.0, self.of('freed', mbps=100_000).seconds)
        self.assertEqual(2.0, self.of('freed', 8192, 100_000).seconds)

    def test_cold_cache_has_to_be_dropped_first(self) -> None:
        found = self.of('cache-cold')
        self.assertAlmostEqual(3 / 1.6, found.drop_seconds)
        self.assertEqual(found.drop_seconds, found.seconds)

    def test_what_a_guest_keeps_is_needed(self) -> None:
        needed = {
            name: self.of(name).needed_mib - self.of('fresh').needed_mib
            for name in scenarios.SCENARIOS
        }
        self.assertEqual(
            {
                'fresh': 0,
                'freed': 0,
                # 4 of each 256 KiB in 3 GiB.
                'fragmented': 48,
                'cache-cold': 0,
                'cache-hot': 1024,
                'full': 3584,
                'busy': 1024,
                'busy-fast': 1024,
                'growing': 0,
            },
            needed,
        )

    def test_less_is_needed_than_any_guest_has_resident(self) -> None:
        for scenario in scenarios.SCENARIOS.values():
            found = self.of(scenario.name)
            self.assertLess(found.needed_mib, scenario.resident_share * 4096)

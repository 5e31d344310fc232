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

"""What the plugin foretells of a migration, compared with measured ones.

The estimate is told what an operator's host knows: the resident size, what the
guest reports, and the bandwidth. How fast guests release memory it assumes.
"""

import pathlib
import statistics

from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.cli import costs
from nova_freemem.plan import planner
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.bandwidth import Origin
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.virt.memory_stats import MemoryStats
from tests import base
from tests.bench import capture
from tests.simulation import fakes

ROOT = pathlib.Path(__file__).parents[3]
MEASURED = capture.from_json(
    (ROOT / 'tests/simulation/measured.json').read_text()
)

# The worst is a guest whose transfer waited, and whose release was quicker
# than is assumed of a host that has seen none.
MEDIAN_SECONDS_ERROR, WORST_SECONDS_ERROR = 0.25, 0.46
MEDIAN_SAVED_ERROR = 0.25
LEAST_SENT, MEDIAN_SENT_ERROR = 0.8, 0.25


def estimate(case: capture.Case) -> costs.Estimate:
    """:returns: what is foretold of a measured case."""
    situation = case.situation
    load = situation.load
    memory_kib = situation.memory_kib
    cache_kib = load.hot_kib + load.cold_kib
    free_kib = memory_kib - load.used_kib - cache_kib
    return costs.of_guest(
        'measured',
        memory_kib,
        Eligible(memory_kib, situation.rss_kib, total_shrinks=True),
        MemoryStats(
            memory_kib,
            situation.rss_kib,
            memory_kib,
            free_kib,
            free_kib + cache_kib,
            cache_kib,
        ),
        FreeMemory(
            source='guest_agent',
            total_kib=memory_kib,
            free_kib=free_kib,
            available_kib=free_kib + cache_kib,
            inactive_file_kib=load.cold_kib,
            unwritten_kib=0,
        ),
        # Then the default.
        fakes.make_policy(headroom_percent=5)
        if case.method == 'plain'
        else fakes.make_policy(headroom_percent=5, mode=case.method),
        Bandwidth.of_mbps(
            situation.migration_bandwidth_mbps, Origin.CONFIGURED
        ),
    )


class ForetoldTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.foretold = [
            (case, one, one.plain if case.method == 'plain' else one.costs)
            for case in MEASURED.cases
            for one in (estimate(case),)
        ]

    def test_a_migration_takes_about_as_long_as_foretold(self) -> None:
        errors = [
            abs(found.seconds / case.seconds.median - 1)
            for case, _one, found in self.foretold
        ]
        self.assertLess(statistics.median(errors), MEDIAN_SECONDS_ERROR)
        self.assertLess(max(errors), WORST_SECONDS_ERROR)

    def test_a_release_is_foretold_where_there_was_one(self) -> None:
        for case, one, _found in self.foretold:
            if case.method != 'plain':
                self.assertEqual(
                    case.back_seconds is not None,
                    isinstance(one.decision, planner.Plan),
                    f'{case.guest}, {case.method}',
                )

    def test_it_saves_about_as_much_as_foretold(self) -> None:
        plain = {
            case.situation: case.megabytes.median
            for case, _one, _found in self.foretold
            if case.method == 'plain'
        }
        errors = [
            (one.plain.sent_kib - found.sent_kib)
            * 1024
            / 1e6
            / (plain[case.situation] - case.megabytes.median)
            - 1
            for case, one, found in self.foretold
            if case.back_seconds is not None
        ]
        self.assertGreater(len(errors), 5)
        self.assertLess(
            statistics.median(map(abs, errors)), MEDIAN_SAVED_ERROR
        )

    def test_more_is_foretold_to_be_sent_than_is_rather_than_less(
        self,
    ) -> None:
        shares = [
            found.sent_kib * 1024 / 1e6 / case.megabytes.median
            for case, _one, found in self.foretold
        ]
        self.assertGreater(min(shares), LEAST_SENT)
        self.assertLess(
            statistics.median(abs(share - 1) for share in shares),
            MEDIAN_SENT_ERROR,
        )

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

"""The limits of the benchmark, and what is said of them."""

from __future__ import annotations

from tests import base
from tests.bench import bars
from tests.bench import matrix
from tests.bench import results
from tests.bench.tests import runs as bench_runs


class BarsTest(base.TestCase):
    def verdict(
        self, bench: results.Bench, where: str, what: str
    ) -> bars.Verdict:
        (found,) = (
            one
            for one in bars.judge(bench)
            if one.bar.where == where and what in one.bar.what
        )
        return found

    def test_a_bar_that_is_met_shows_its_figure(self) -> None:
        found = self.verdict(
            bench_runs.three_rounds(),
            'freed, reporting off, 1 Gb/s',
            "seconds of auto, of plain's",
        )
        self.assertEqual(0.2, found.figure)
        self.assertEqual('met', found.word)

    def test_a_bar_that_is_missed_is_called_so(self) -> None:
        found = self.verdict(
            bench_runs.bench(
                bench_runs.run(method, 30.0) for method in ('plain', 'auto')
            ),
            'freed, reporting off, 1 Gb/s',
            "seconds of auto, of plain's",
        )
        self.assertEqual('missed', found.word)

    def test_what_was_not_measured_is_neither(self) -> None:
        for one in bars.judge(bench_runs.bench([])):
            self.assertIsNone(one.is_met, one)
            self.assertEqual('not measured', one.word)

    def test_the_same_scenario_at_another_bandwidth_does_not_count(
        self,
    ) -> None:
        cell = matrix.Cell('freed', False, None)
        bench = bench_runs.bench(
            bench_runs.run(method, 30.0, cell) for method in ('plain', 'auto')
        )
        found = self.verdict(
            bench,
            'freed, reporting off, 1 Gb/s',
            "seconds of auto, of plain's",
        )
        self.assertIsNone(found.figure)

    def test_the_worse_of_two_guests_counts(self) -> None:
        bench = bench_runs.bench(
            bench_runs.run(
                method, seconds, matrix.Cell('full', reporting, 1000)
            )
            for method, reporting, seconds in (
                ('plain', False, 30.0),
                ('auto', False, 30.0),
                ('plain', True, 30.0),
                ('auto', True, 33.0),
            )
        )
        found = self.verdict(bench, 'full, 1 Gb/s', 'seconds of auto')
        self.assertAlmostEqual(1.1, found.figure)
        self.assertFalse(found.is_met)

    def test_a_delay_is_a_delay_of_auto_in_milliseconds(self) -> None:
        cell = matrix.Cell('fresh', True, None)
        bench = bench_runs.bench(
            bench_runs.run(method, 2.0, cell, delay_seconds=delay)
            for method, delay in (
                ('plain', 0.0),
                ('before', 2.0),
                ('auto', 0.14),
            )
        )
        found = self.verdict(bench, 'fresh, unlimited', 'ms until')
        self.assertAlmostEqual(140.0, found.figure)
        self.assertTrue(found.is_met)

    def test_reads_lost_are_lost_against_plain(self) -> None:
        bench = bench_runs.bench(
            bench_runs.run(
                method,
                5.0,
                bench_runs.HOT,
                pace=results.Pace(500e6, 200e6, after),
            )
            for method, after in (('plain', 500e6), ('auto', 450e6))
        )
        found = self.verdict(bench, 'cache-hot', 'reads lost')
        self.assertAlmostEqual(0.1, found.figure)
        self.assertFalse(found.is_met)

    def test_memory_that_is_never_restored_is_the_worst(self) -> None:
        bench = bench_runs.bench(
            [bench_runs.run('auto', 5.0, back_seconds=None)]
        )
        found = self.verdict(bench, 'all that was measured', 'memory restored')
        self.assertEqual(float('inf'), found.figure)
        self.assertFalse(found.is_met)

    def test_auto_is_compared_with_the_best_that_did_no_harm(self) -> None:
        cell = matrix.Cell('full', True, None)
        bench = bench_runs.bench(
            bench_runs.run(method, seconds, cell, oom_kills=kills)
            for method, seconds, kills in (
                ('plain', 12.0, 0),
                ('auto', 11.0, 0),
                ('auto+multifd', 5.0, 0),
                ('multifd', 10.0, 0),
                ('fixed-minimum', 2.0, 1),
            )
        )
        found = self.verdict(bench, 'full, unlimited', "of the best peer's")
        self.assertAlmostEqual(1.1, found.figure)
        self.assertFalse(found.is_met)

    def test_auto_is_compared_with_hints_of_free_pages(self) -> None:
        for auto, is_met in ((5.6, True), (5.8, False)):
            bench = bench_runs.bench(
                bench_runs.run(method, seconds)
                for method, seconds in (
                    ('plain', 5.0),
                    ('auto', auto),
                    ('free-page-hint', 6.0),
                )
            )
            found = self.verdict(
                bench, 'freed, reporting off, 1 Gb/s', 'free-page-hint'
            )
            self.assertIs(is_met, found.is_met)

    def test_auto_is_compared_with_an_oracle(self) -> None:
        # 204 MB at 1 Gb/s.
        for seconds, is_met in ((2.4, True), (2.5, False)):
            bench = bench_runs.bench([bench_runs.run('auto', seconds)])
            found = self.verdict(
                bench, 'freed, reporting off, 1 Gb/s', "an oracle's"
            )
            self.assertIs(is_met, found.is_met)

    def test_a_transfer_that_ends_only_with_the_plugin_is_a_gain(
        self,
    ) -> None:
        cell = matrix.Cell('busy-fast', False, 1000)
        why = 'its transfer has not ended after 103 s'
        for ended, figure, word in (
            ({'auto': 20.0}, 0.0, 'met'),
            ({'plain': 30.0, 'auto': 24.0}, 0.8, 'met'),
            ({}, 1.0, 'met'),
            ({'plain': 30.0}, float('inf'), 'missed'),
        ):
            bench = bench_runs.bench(
                [
                    bench_runs.run(method, seconds, cell)
                    for method, seconds in ended.items()
                ]
                # What makes this a situation that was measured.
                + [bench_runs.run('post-copy', 30.0, cell)],
                unable=[
                    results.Failure('busy-fast', False, 1000, method, 1, why)
                    for method in ('plain', 'auto')
                    if method not in ended
                ],
            )
            found = self.verdict(bench, 'busy-fast, 1 Gb/s', 'never ends')
            self.assertEqual((figure, word), (found.figure, found.word))

    def test_the_plugin_takes_little_of_a_processor(self) -> None:
        for cpu_seconds, is_met in ((0.09, True), (0.11, False)):
            bench = bench_runs.bench(
                [
                    bench_runs.run('auto', 5.0, cpu_seconds=cpu_seconds),
                    bench_runs.run('post-copy', 5.0, cpu_seconds=1.0),
                ]
            )
            found = self.verdict(
                bench, 'all that was measured', 'of a processor'
            )
            self.assertIs(is_met, found.is_met)

    def test_what_others_did_to_a_guest_is_not_our_doing(self) -> None:
        harmed = {'oom_kills': 1, 'swapped_out_pages': 7, 'wrong': ('lost',)}
        for method, is_met in (
            ('plain', True),
            ('fixed-minimum', True),
            ('before', False),
            ('auto+multifd', False),
        ):
            bench = bench_runs.bench(
                [
                    bench_runs.run('auto', 5.0),
                    bench_runs.run(method, 5.0, **harmed),
                ]
            )
            for what in ('OOM', 'swapped', 'not intact'):
                found = self.verdict(bench, 'all that was measured', what)
                self.assertEqual(is_met, found.is_met, found)

    def test_quick_measures_a_bar_of_each_kind(self) -> None:
        bench = bench_runs.bench(
            bench_runs.run(method, 5.0, cell)
            for cell, methods in matrix.QUICK.items()
            for method in methods
        )
        known = [one for one in bars.judge(bench) if one.figure is not None]
        self.assertEqual(15, len(known))

    def test_bars_measures_all_that_a_bar_is_about(self) -> None:
        bench = bench_runs.bench(
            bench_runs.run(method, 5.0, cell)
            for cell, methods in matrix.BARS.items()
            for method in methods
        )
        unknown = [one for one in bars.judge(bench) if one.figure is None]
        self.assertEqual([], unknown)

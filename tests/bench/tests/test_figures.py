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

"""Medians, spreads and comparisons of a benchmark."""

from __future__ import annotations

import dataclasses

from tests import base
from tests.bench import figures
from tests.bench.tests import runs as bench_runs


class SpreadTest(base.TestCase):
    def test_one_slow_run_does_not_move_the_median(self) -> None:
        runs = bench_runs.three_rounds().of(bench_runs.FREED, 'plain')
        self.assertEqual(
            figures.Spread(30.0, 29.0, 40.0, 3),
            figures.spread(runs, figures.seconds),
        )

    def test_what_no_run_has_is_not_zero(self) -> None:
        never = bench_runs.run('auto', 5.0, back_seconds=None)
        self.assertIsNone(
            figures.median([never], lambda run: run.back_seconds)
        )
        self.assertIsNone(figures.median([], figures.seconds))

    def test_runs_without_the_figure_do_not_count(self) -> None:
        runs = [
            bench_runs.run('auto', 5.0, back_seconds=back)
            for back in (None, 3.0)
        ]
        self.assertEqual(
            3.0, figures.median(runs, lambda run: run.back_seconds)
        )


class ToPlainTest(base.TestCase):
    def ratio(self, bench: object) -> float | None:
        return figures.to_plain(
            bench, bench_runs.FREED, 'auto', figures.seconds
        )

    def test_medians_are_compared(self) -> None:
        self.assertEqual(0.2, self.ratio(bench_runs.three_rounds()))

    def test_only_rounds_in_which_both_were_measured_count(self) -> None:
        bench = bench_runs.three_rounds()
        failed_in_round_two = dataclasses.replace(
            bench,
            runs=tuple(
                run
                for run in bench.runs
                if (run.method, run.round) != ('plain', 2)
            ),
        )
        self.assertEqual(13.0 / 34.5, self.ratio(failed_in_round_two))

    def test_there_is_no_comparison_without_plain(self) -> None:
        alone = bench_runs.bench([bench_runs.run('auto', 5.0)])
        self.assertIsNone(self.ratio(alone))

    def test_there_is_no_comparison_with_nothing_sent(self) -> None:
        bench = bench_runs.bench(
            bench_runs.run(method, 5.0, bytes_sent=0)
            for method in ('plain', 'auto')
        )
        self.assertIsNone(
            figures.to_plain(
                bench, bench_runs.FREED, 'auto', figures.megabytes
            )
        )


class PaceTest(base.TestCase):
    def test_work_is_told_as_a_share_of_the_work_before(self) -> None:
        run = bench_runs.run('auto', 5.0)
        self.assertEqual(0.6, figures.pace_during(run))
        self.assertEqual(0.98, figures.pace_after(run))

    def test_a_migration_too_short_to_see_has_no_pace(self) -> None:
        pace = dataclasses.replace(
            bench_runs.run('auto', 0.3).pace, during=None
        )
        run = bench_runs.run('auto', 0.3, pace=pace)
        self.assertIsNone(figures.pace_during(run))

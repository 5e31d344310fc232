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

"""The model fitted to figures of a known model, and what is shown."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import ddt
import fixtures

from tests import base
from tests.bench import capture
from tests.bench import fit
from tests.bench import fitting
from tests.bench import matrix
from tests.bench import results
from tests.bench.figures import Spread
from tests.bench.tests import runs as bench_runs
from tests.lab import errors
from tests.simulation import replay
from tests.simulation.model import GIB
from tests.simulation.model import MIB
from tests.simulation.model import Model

FREED = replay.Situation(
    'freed', False, 4 * GIB, 3500 * MIB, 3300 * MIB, 1000.0
)
COLD = dataclasses.replace(FREED, scenario='cache-cold', reporting=True)


def once(value: float | None) -> Spread | None:
    """:returns: a figure that was measured once."""
    return None if value is None else Spread(value, value, value, 1)


def simulated(
    situation: replay.Situation, method: str, model: Model
) -> capture.Case:
    """:returns: what would be measured if the model were the truth."""
    truth = situation.migrate(method, model)
    return capture.Case(
        situation,
        '1 Gb/s',
        method,
        once(truth.seconds),
        once(truth.megabytes),
        once(truth.back_seconds),
    )


class FitTest(base.TestCase):
    def test_the_figures_are_found_that_the_truth_was_made_with(self) -> None:
        truth = Model(
            inflate_kib_per_second=330 * MIB,
            reclaim_kib_per_second=210 * MIB,
            deflate_kib_per_second=700 * MIB,
        )
        begin = Model(
            inflate_kib_per_second=900 * MIB,
            reclaim_kib_per_second=800 * MIB,
            deflate_kib_per_second=2 * GIB,
        )
        bounds = {
            name: fitting.BOUNDS[name]
            for name in (
                'inflate_kib_per_second',
                'reclaim_kib_per_second',
                'deflate_kib_per_second',
            )
        }
        cases = [simulated(one, 'before', truth) for one in (FREED, COLD)]
        found = fitting.fit(cases, begin, bounds)
        for name, value in found.items():
            wanted = getattr(truth, name)
            self.assertAlmostEqual(wanted, value, delta=0.05 * wanted)
        model = dataclasses.replace(begin, **found)
        self.assertLess(fitting.error(fitting.hold(cases, model)), 0.0005)

    def test_the_truth_itself_is_off_by_nothing(self) -> None:
        case = simulated(FREED, 'auto', Model())
        (held,) = fitting.hold([case], Model())
        self.assertEqual(
            (0.0, 0.0, 0.0),
            (held.seconds_error, held.megabytes_error, held.back_error),
        )

    def test_a_slower_balloon_takes_longer(self) -> None:
        slow = Model(inflate_kib_per_second=Model.inflate_kib_per_second / 3)
        case = simulated(FREED, 'before', Model())
        (held,) = fitting.hold([case], slow)
        self.assertGreater(held.seconds_error, 0.5)
        self.assertGreater(fitting.error([held]), 0.1)


class CaptureTest(base.TestCase):
    def bench(self, **figures: object) -> results.Bench:
        """:returns: three rounds of each; ``told`` and the like as chosen."""
        return bench_runs.bench(
            bench_runs.run(
                method, seconds, number=number, bytes_sent=sent, **figures
            )
            for method, all_seconds, sent in (
                ('plain', (29.0, 30.0, 40.0), 3_400_000_000),
                ('before', (9.0, 10.0, 11.0), 220_000_000),
            )
            for number, seconds in enumerate(all_seconds, 1)
        )

    def test_what_the_simulation_does_not_know_is_left_out(self) -> None:
        bench = self.bench()
        others = [bench_runs.run('post-copy', 30.0)]
        self.assertEqual(
            capture.of_bench(bench).cases,
            capture.of_bench(
                dataclasses.replace(bench, runs=(*bench.runs, *others))
            ).cases,
        )

    def test_medians_and_spreads_are_kept(self) -> None:
        plain, first = capture.of_bench(
            self.bench(told=('Released 3000 of 4096 MiB.',))
        ).cases
        self.assertEqual(Spread(30.0, 29.0, 40.0, 3), plain.seconds)
        self.assertEqual(220.0, first.megabytes.median)
        self.assertEqual(2.0, first.back_seconds.median)
        self.assertEqual(3_400_000_000 >> 10, first.situation.plain_kib)
        self.assertEqual(1000.0, first.situation.migration_bandwidth_mbps)

    def test_where_nothing_was_released_nothing_is_restored(self) -> None:
        for case in capture.of_bench(self.bench()).cases:
            self.assertIsNone(case.back_seconds)

    def test_a_situation_that_is_not_complete_is_left_out(self) -> None:
        bench = self.bench()
        with self.assertRaisesRegex(ValueError, 'in all its rounds'):
            capture.of_bench(dataclasses.replace(bench, runs=bench.runs[:-1]))

    def test_a_run_that_failed_is_done_without(self) -> None:
        bench = self.bench()
        failure = results.Failure('freed', False, 1000, 'before', 3, 'gone')
        *_, first = capture.of_bench(
            dataclasses.replace(
                bench, runs=bench.runs[:-1], failures=(failure,)
            )
        ).cases
        self.assertEqual(Spread(9.5, 9.0, 10.0, 2), first.seconds)

    def test_one_that_the_simulation_does_not_know_is_left_out(self) -> None:
        bench = self.bench()
        busy = matrix.Cell('busy', False, 1000)
        runs = [
            bench_runs.run('plain', 40.0, cell=busy, number=number)
            for number in (1, 2, 3)
        ]
        both = dataclasses.replace(bench, runs=(*bench.runs, *runs))
        self.assertEqual(
            {'freed'},
            {one.situation.scenario for one in capture.of_bench(both).cases},
        )

    def test_it_is_read_as_it_was_written(self) -> None:
        kept = dataclasses.replace(
            capture.of_bench(self.bench()),
            fitted={'inflate_kib_per_second': 500_000.0},
        )
        self.assertEqual(kept, capture.from_json(capture.to_json(kept)))
        self.assertEqual(500_000.0, kept.model.inflate_kib_per_second)

    def test_something_else_is_refused(self) -> None:
        for text in (
            '[]',
            '{}',
            '{"format": 1}',
            '{"format": 9, "cases": []}',
        ):
            with self.assertRaises(ValueError):
                capture.from_json(text)


@ddt.ddt
class CommandTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def write(self, text: str) -> str:
        file = self.folder / 'bench.json'
        file.write_text(text)
        return str(file)

    @ddt.data('nothing', '[]', '{"cases": []}', '{"format": 1}')
    def test_a_file_of_something_else_is_refused(self, text: str) -> None:
        with self.assertRaisesRegex(errors.Refused, r'argument FILE: .*json'):
            fit.parse([self.write(text)])

    def test_a_file_that_is_not_there_is_refused(self) -> None:
        with self.assertRaisesRegex(errors.Refused, 'No such file'):
            fit.parse([str(self.folder / 'none.json')])

    def test_a_benchmark_that_has_only_begun_is_refused(self) -> None:
        begun = bench_runs.bench([bench_runs.run('plain', 30.0)])
        with self.assertRaisesRegex(errors.Refused, 'in all its rounds'):
            fit.parse([self.write(results.to_json(begun))])

    @ddt.data('--json', '--rst')
    def test_what_cannot_be_written_is_refused(self, option: str) -> None:
        with self.assertRaisesRegex(errors.Refused, 'cannot be written'):
            fit.parse(
                [
                    self.write(results.to_json(bench_runs.three_rounds())),
                    option,
                    str(self.folder / 'none' / 'out'),
                ]
            )

    def test_a_benchmark_and_what_was_kept_of_it_are_both_read(self) -> None:
        bench = results.to_json(bench_runs.three_rounds())
        of_bench = fit.parse([self.write(bench)]).capture
        kept = capture.to_json(of_bench)
        self.assertEqual(of_bench, fit.parse([self.write(kept)]).capture)
        self.assertIn('cases', json.loads(kept))


class ShownTest(base.TestCase):
    def test_errors_stand_beside_what_was_measured(self) -> None:
        case = simulated(FREED, 'before', Model())
        measured = dataclasses.replace(
            case, seconds=Spread(2 * case.seconds.median, 1.0, 99.0, 3)
        )
        held = fitting.hold([measured], Model())
        _, table = fit.shown(
            capture.Capture('2026-01-02T03:04:05', {}, (measured,)), held
        )
        (row,) = table.rows
        self.assertEqual(('freed, reporting off, 1 Gb/s', 'before'), row[:2])
        self.assertRegex(row[3], r'^[0-9.]+ \(1\.0-99\.0\)$')
        self.assertEqual(('-50%', '+0%'), (row[5], row[8]))

    def test_every_figure_that_is_fitted_is_explained(self) -> None:
        figures = {name: low for name, (low, _) in fitting.BOUNDS.items()}
        table, _ = fit.shown(
            capture.Capture('2026-01-02T03:04:05', {}, (), figures), []
        )
        self.assertEqual(list(fitting.BOUNDS), [row[0] for row in table.rows])

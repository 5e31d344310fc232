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

"""The file, the tables, the pictures and the guest's own work."""

from __future__ import annotations

import io
import json
import pathlib
from unittest import mock

import ddt
from docutils import core
from docutils import nodes
import fixtures
from rich import console

from tests import base
from tests.bench import matrix
from tests.bench import picture
from tests.bench import probe
from tests.bench import report
from tests.bench import results
from tests.bench import tables
from tests.bench.tests import runs as bench_runs


@ddt.ddt
class FileTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.file = self.folder / 'bench.json'

    def test_what_was_written_is_read_again(self) -> None:
        failure = results.Failure('full', True, None, 'auto', 2, 'it ended')
        unable = results.Failure('full', True, None, 'post-copy', 1, 'no')
        bench = bench_runs.bench(
            bench_runs.three_rounds().runs, [failure], unable=[unable]
        )
        results.write(bench, self.file)
        self.assertEqual(bench, results.from_json(self.file.read_text()))
        self.assertEqual([self.file], list(self.folder.iterdir()))

    @ddt.data('', '[]', '{}', '{"format": 1}', '{"format": 99}')
    def test_another_file_is_refused_in_a_line(self, text: str) -> None:
        self.file.write_text(text)
        complaint = io.StringIO()
        with mock.patch('sys.stderr', complaint):
            self.assertEqual(2, report.main([str(self.file)]))
        self.assertEqual(1, len(complaint.getvalue().splitlines()))

    def test_what_is_missing_in_a_file_is_named(self) -> None:
        content = json.loads(results.to_json(bench_runs.three_rounds()))
        del content['runs'][1]['pace']['during']
        with self.assertRaisesRegex(
            ValueError, r'\$\.runs\[1\]\.pace\.during'
        ):
            results.from_json(json.dumps(content))

    def test_the_manual_gets_tables_that_it_can_show(self) -> None:
        results.write(bench_runs.three_rounds(), self.file)
        page = io.StringIO()
        with mock.patch('sys.stdout', page):
            self.assertEqual(0, report.main([str(self.file)]))
        document = core.publish_doctree(
            page.getvalue(), settings_overrides={'halt_level': 2}
        )
        shown = list(document.findall(nodes.table))
        self.assertEqual(6, len(shown))
        self.assertIn(
            '0.200', [one.astext() for one in shown[4].findall(nodes.entry)]
        )


class ManualTest(base.TestCase):
    """The manual's page on measurements."""

    def test_its_tables_are_of_the_file_beside_it(self) -> None:
        folder = pathlib.Path(__file__).parents[3] / 'doc/source/admin'
        measured = results.from_json(
            (folder / 'measurements.json').read_text()
        )
        self.assertEqual(
            report.write_for_manual(measured),
            (folder / 'measurements-table.inc').read_text(),
        )

    def test_a_user_chooses_by_seconds_bytes_and_the_restoration(self) -> None:
        (table,) = tables.ways(bench_runs.three_rounds())
        (row,) = (row for row in table.rows if 'auto' in row)
        self.assertEqual(
            ('6.0 (5.0-20.0)', '0.200', '3.7'),
            row[table.headings.index('seconds') :][:3],
        )


class TablesTest(base.TestCase):
    def row(self, number: int, method: str) -> str:
        table = tables.measured(bench_runs.three_rounds())[number]
        (row,) = (row for row in table.rows if method in row)
        return ' | '.join(row)

    def test_a_median_has_its_spread_and_its_ratio_to_plain(self) -> None:
        self.assertIn('| 6.0 (5.0-20.0) | 0.200 | 3.7 |', self.row(0, 'auto'))
        self.assertIn('| 30.0 (29.0-40.0) | 1 | 18.3 |', self.row(0, 'plain'))

    def test_the_guest_is_shown_to_be_intact(self) -> None:
        self.assertIn('| 3 of 3', self.row(1, 'auto'))

    def test_a_method_that_cannot_is_shown_with_the_reason(self) -> None:
        why = 'the guest does not report free pages'
        bench = bench_runs.bench(
            bench_runs.three_rounds().runs,
            unable=[
                results.Failure('freed', False, 1000, 'guest-reclaim', 1, why)
            ],
        )
        (table,) = tables.unable(bench)
        self.assertEqual(
            (('freed, reporting off, 1 Gb/s', 'guest-reclaim', why),),
            table.rows,
        )
        self.assertEqual([], tables.unable(bench_runs.three_rounds()))

    def test_what_an_oracle_needs_is_shown(self) -> None:
        table = tables.needed(bench_runs.three_rounds())
        self.assertEqual(
            (
                *('freed, reporting off', '1 Gb/s', '204'),
                *('1.6', '1.0', '0.0', '1.6'),
            ),
            table.rows[0],
        )

    def test_nothing_is_foretold_of_a_path_that_nobody_knows(self) -> None:
        cell = matrix.Cell('full', False, None)
        bench = bench_runs.bench([bench_runs.run('plain', 9.0, cell)])
        self.assertEqual((), tables.needed(bench).rows)
        self.assertIn('n/a', tables.measured(bench)[0].rows[0])

    def test_a_downtime_that_nobody_knows_is_not_zero(self) -> None:
        run = bench_runs.run('post-copy', 30.0, downtime_ms=None)
        table = tables.measured(bench_runs.bench([run]))[0]
        column = table.headings.index('downtime, ms')
        self.assertEqual('n/a', table.rows[0][column])

    def test_a_single_run_has_no_spread(self) -> None:
        bench = bench_runs.bench([bench_runs.run('plain', 30.0)], rounds=1)
        self.assertIn('30.0', tables.measured(bench)[0].rows[0])

    def test_a_terminal_shows_the_verdicts(self) -> None:
        paper = console.Console(file=io.StringIO(), width=140)
        judged = tables.judged(bench_runs.three_rounds())
        paper.print(tables.for_terminal(judged))
        (line,) = (
            line
            for line in paper.file.getvalue().splitlines()
            if 'freed, reporting off' in line and "auto, of plain's" in line
        )
        self.assertIn('20.0%', line)
        self.assertIn('met', line)


class PictureTest(base.TestCase):
    def test_everything_is_drawn_into_pngs(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        made = picture.draw(bench_runs.three_rounds(), folder)
        self.assertEqual(
            ['migration-1000mbit.png', 'work-1000mbit.png', 'bars.png'],
            [file.name for file in made],
        )
        for file in made:
            self.assertTrue(file.read_bytes().startswith(b'\x89PNG'))

    def test_the_manual_gets_a_picture_of_all_methods(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        figures_file, rst, svg = (
            folder / name for name in ('bench.json', 'tables.inc', 'bench.svg')
        )
        bench = bench_runs.three_rounds()
        results.write(bench, figures_file)
        words = (figures_file, '--rst', rst, '--svg', svg)
        self.assertEqual(0, report.main([str(word) for word in words]))
        self.assertEqual(report.write_for_manual(bench), rst.read_text())
        drawn = svg.read_text()
        for method in bench.methods(bench.cells()[0]):
            self.assertIn(f'>{method}</text>', drawn)
        report.main([str(word) for word in words])
        self.assertEqual(drawn, svg.read_text())


class WorkTest(base.TestCase):
    LOG = (
        '1000.000 1000\n1000.500 51000\n1001.000 101000\n'
        '1001.500 111000\n1002.000 151000\n'
    )

    def test_bytes_so_far_become_bytes_a_second(self) -> None:
        work = probe.parse(self.LOG)
        self.assertEqual(probe.Work(1000.25, 100_000.0), work[0])
        self.assertEqual(20_000.0, work[2].bytes_per_second)

    def test_a_line_cut_short_does_not_count(self) -> None:
        self.assertEqual(
            probe.parse(self.LOG), probe.parse(f'{self.LOG}1002.500 16')
        )

    def test_a_log_that_has_just_begun_tells_nothing(self) -> None:
        self.assertEqual([], probe.parse('1000.000 1000\n'))

    def test_work_is_told_apart_by_when_it_was_done(self) -> None:
        pace = probe.pace(probe.parse(self.LOG), 1001.0, 1001.5, 5.0)
        self.assertEqual(results.Pace(100_000.0, 20_000.0, 80_000.0), pace)

    def test_a_guest_that_told_nothing_has_no_pace(self) -> None:
        self.assertEqual(
            results.Pace(None, None, None), probe.pace([], 1.0, 2.0, 5.0)
        )

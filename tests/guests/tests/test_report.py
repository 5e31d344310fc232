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

"""The command, the file, the tables and the picture."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
from unittest import mock

import ddt
from docutils import core
from docutils import nodes
import fixtures

from tests import base
from tests.guests import arguments
from tests.guests import preflight
from tests.guests import report
from tests.guests import results
from tests.guests import tables
from tests.guests.tests import runs
from tests.lab import errors

ROOT = pathlib.Path(__file__).parents[3]


class CommandTest(base.TestCase):
    def test_all_cases_are_measured_three_times(self) -> None:
        request = arguments.parse([])
        self.assertEqual((11, 3), (len(request.cases), request.rounds))

    def test_a_quick_run_is_of_one_round(self) -> None:
        request = arguments.parse(['--quick'])
        self.assertEqual((5, 1), (len(request.cases), request.rounds))

    def test_cases_can_be_chosen(self) -> None:
        request = arguments.parse(
            ['--case', 'redis', 'redis', '--rounds', '2', '--quick']
        )
        self.assertEqual(['redis'], [case.name for case in request.cases])
        self.assertEqual(2, request.rounds)

    def test_the_plugin_is_compared_with_a_plain_migration(self) -> None:
        self.assertEqual(('plain', 'freemem'), arguments.parse([]).methods)
        # Whether a guest is hurt is seen without.
        self.assertEqual(('freemem',), arguments.parse(['--quick']).methods)

    def test_other_methods_can_be_chosen(self) -> None:
        words = ['--method', 'freemem', 'multifd', 'post-copy', 'multifd']
        self.assertEqual(
            ('freemem', 'multifd', 'post-copy'), arguments.parse(words).methods
        )
        self.assertRaisesRegex(
            errors.Refused, 'quick', arguments.parse, [*words, '--quick']
        )

    def test_a_case_that_there_is_not_is_refused(self) -> None:
        self.assertRaises(
            errors.Refused, preflight.needed, ['--case', 'oracle']
        )

    def test_the_largest_guest_says_what_it_takes(self) -> None:
        need = preflight.needed(['--case', 'redis', 'postgresql'])
        self.assertEqual(2048, need.guest_mib)

    def test_help_needs_nothing_but_the_standard_library(self) -> None:
        done = subprocess.run(
            [sys.executable, '-S', '-m', 'tests.guests.preflight', '--help'],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': ''},
            capture_output=True,
            text=True,
        )
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn('--case', done.stdout)


class ManualTest(base.TestCase):
    """The manual's page on what guests notice."""

    def test_its_tables_are_of_the_file_beside_it(self) -> None:
        folder = ROOT / 'doc/source/admin'
        measured = results.from_json((folder / 'guests.json').read_text())
        self.assertEqual(
            report.write(measured), (folder / 'guests-table.inc').read_text()
        )


@ddt.ddt
class ReportTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.file = self.folder / 'guests.json'

    def test_what_was_written_is_read_again(self) -> None:
        results.write(runs.both(), self.file)
        self.assertEqual(runs.both(), results.from_json(self.file.read_text()))

    def test_each_case_and_method_is_one_object(self) -> None:
        content = json.loads(results.to_json(runs.both()))
        plain, freemem = content['results']
        self.assertEqual('plain', plain['method'])
        for name, value in {
            'case': 'postgresql',
            'method': 'freemem',
            'killed': 0,
            'failed_allocations': 0,
            'swapped_out_kib': 0,
            'throughput_share_during': 0.8,
            'throughput_share_after': 1.0,
            'p99_ms_during': 25.0,
            'p99_ms_after': 10.0,
            'seconds': 16.0,
            'bytes_sent': 900_000_000,
        }.items():
            self.assertEqual(value, freemem[name], name)

    def test_rounds_become_medians_and_what_hurts_is_added_up(self) -> None:
        guests = runs.guests(
            runs.run('freemem', seconds=seconds, killed=1)
            for seconds in (9.0, 10.0, 30.0)
        )
        (result,) = guests.results
        self.assertEqual(
            (10.0, 3, 3), (result.seconds, result.killed, result.rounds)
        )

    @ddt.data('', '[]', '{}', '{"format": 1}', '{"format": 99}')
    def test_another_file_is_refused_in_a_line(self, text: str) -> None:
        self.file.write_text(text)
        complaint = io.StringIO()
        with mock.patch('sys.stderr', complaint):
            self.assertEqual(2, report.main([str(self.file)]))
        self.assertEqual(1, len(complaint.getvalue().splitlines()))

    def test_the_manual_gets_tables_and_a_picture(self) -> None:
        results.write(runs.both(p99_ms_after=11.0), self.file)
        rst, svg = self.folder / 'guests.inc', self.folder / 'guests.svg'
        words = [str(self.file), '--rst', str(rst), '--svg', str(svg)]
        self.assertEqual(0, report.main(words))
        document = core.publish_doctree(
            rst.read_text(), settings_overrides={'halt_level': 2}
        )
        shown = list(document.findall(nodes.table))
        self.assertEqual(5, len(shown))
        self.assertIn(
            '1.10', [one.astext() for one in shown[2].findall(nodes.entry)]
        )
        self.assertIn('<svg', svg.read_text())

    def test_work_that_had_stopped_before_is_drawn_as_none(self) -> None:
        results.write(runs.both(throughput_before=0.0), self.file)
        svg = self.folder / 'guests.svg'
        words = [str(self.file), '--rst', str(self.folder / 'guests.inc')]
        self.assertEqual(0, report.main([*words, '--svg', str(svg)]))
        self.assertIn('<svg', svg.read_text())

    def test_a_method_that_cannot_migrate_a_guest_is_shown(self) -> None:
        guests = dataclasses.replace(
            runs.both(),
            unable=(results.Failure('redis', 'fixed-minimum', 1, 'too much'),),
        )
        self.assertEqual(guests, results.from_json(results.to_json(guests)))
        (table,) = tables.unable(guests)
        self.assertEqual((('redis', 'fixed-minimum', 'too much'),), table.rows)
        self.assertIn('fixed-minimum', report.write(guests))

    def test_a_method_alone_has_no_ratio(self) -> None:
        table = tables.migrations(runs.guests([runs.run('freemem')]))
        self.assertEqual('n/a', table.rows[0][-1])

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


"""Which faults are injected in which phases, and what is written of it."""

from __future__ import annotations

import itertools
import pathlib
import re
import subprocess
import sys
from unittest import mock

import ddt
import fixtures

from tests import base
from tests.chaos import faults
from tests.chaos import kinds
from tests.chaos import matrix
from tests.chaos import phases
from tests.chaos import preflight
from tests.chaos import record
from tests.chaos import soak
from tests.chaos import store
from tests.chaos import tables
from tests.chaos import tidy
from tests.chaos import walk
from tests.chaos.matrix import Cell
from tests.chaos.phases import Phase
from tests.chaos.stage import Stage
from tests.chaos.tests import records as chaos_records
from tests.lab import errors
from tests.lab import guest as lab_guest


class MatrixTest(base.TestCase):
    def test_every_cell_is_run_or_left_out_with_a_reason(self) -> None:
        every = {
            Cell(phase, fault)
            for phase in phases.PHASES
            for fault in kinds.KINDS
        }
        run, left_out = set(matrix.cells()), matrix.left_out()
        self.assertEqual(every, run | set(left_out))
        self.assertEqual(set(), run & set(left_out))
        self.assertTrue(all(left_out.values()))

    def test_every_fault_that_is_run_can_be_injected(self) -> None:
        run = {cell.fault for cell in matrix.cells()}
        self.assertEqual(run, set(faults.MAKE))
        for name in run:
            self.assertIsInstance(faults.MAKE[name](), faults.Fault)

    def test_a_choice_of_phases_and_faults_is_what_is_run(self) -> None:
        chosen = matrix.cells([Phase.RELEASING, Phase.LANDED], ['qemu-source'])
        self.assertEqual([Cell(Phase.RELEASING, 'qemu-source')], chosen)

    def test_cells_with_several_guests_are_run_together(self) -> None:
        several = [
            cell.kind.several
            for cell in matrix.cells()
            if cell.phase is not Phase.POST_COPY
        ]
        self.assertEqual(sorted(several), several)
        self.assertIn(True, several)

    def test_post_copy_comes_last_for_its_computes_are_restarted(
        self,
    ) -> None:
        order = [cell.phase for cell in matrix.cells()]
        first = order.index(Phase.POST_COPY)
        self.assertEqual({Phase.POST_COPY}, set(order[first:]))

    def test_every_phase_has_a_counterpart_without_the_plugin(self) -> None:
        met = frozenset().union(*matrix.WITHOUT_PLUGIN.values())
        self.assertEqual(set(phases.PHASES), met)
        plain = {
            cell.phase for cell in matrix.cells_without_plugin(matrix.cells())
        }
        self.assertEqual(set(matrix.WITHOUT_PLUGIN), plain)


class WalkTest(base.TestCase):
    def test_a_seed_is_always_the_same_walk(self) -> None:
        cells = matrix.cells()
        first, again, other = (
            list(itertools.islice(walk.steps(seed, order), 300))
            for seed, order in ((7, cells), (7, cells[::-1]), (8, cells))
        )
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_it_runs_every_cell_with_one_guest(self) -> None:
        cells = matrix.cells([Phase.RELEASING])
        alone = {cell for cell in cells if not cell.kind.several}
        walked = itertools.islice(walk.steps(1, cells), len(cells))
        self.assertEqual(alone, set(walked))


@ddt.ddt
class ArgumentsTest(base.TestCase):
    @ddt.unpack
    @ddt.data(
        ('', 'one of the arguments --matrix --seed --soak is required'),
        ('--seed 1', '--seed needs --minutes'),
        ('--seed x --minutes 1', "'x' is not a whole number between 0 and"),
        ('--seed 1 --minutes 0', "'0' is not a whole number between 1 and"),
        ('--soak 0', "'0' is not a whole number between 1 and"),
        ('--soak 9 --fault abort', '--soak has neither phases nor faults'),
        ('--matrix --seed 1', 'not allowed with argument --matrix'),
        ('--matrix --phase lunch', "invalid choice: 'lunch'"),
        ('--matrix --json /nowhere/x', '/nowhere/x cannot be written'),
        ('--soak 1 --no-plugin', '--no-plugin needs --matrix'),
        ('--matrix --no-plugin --fault abort', 'no such cell is run'),
        ('--soak 1 --rst x', '--rst needs --matrix'),
        ('--soak 1 --clouds 2', '--clouds needs --matrix'),
        ('--matrix --clouds 9', "'9' is not a whole number between 1 and 8"),
        ('--soak 1 --rest', '--rest needs --matrix'),
        ('--matrix --rest', '--rest needs --json'),
        ('--matrix --phase switch-over --fault abort', 'no such cell is run'),
    )
    def test_a_wrong_argument_is_one_line(self, words: str, why: str) -> None:
        with self.assertRaises(errors.Refused) as refusal:
            preflight.needed(words.split())
        message = str(refusal.exception)
        self.assertIn(why, message)
        self.assertEqual(1, len(message.splitlines()))

    @ddt.data(
        '--matrix',
        '--matrix --phase releasing landed --fault abort broker',
        '--seed 0 --minutes 5 --phase releasing',
        '--soak 200',
    )
    def test_a_run_wants_the_lab_alone(self, words: str) -> None:
        self.assertTrue(preflight.needed(words.split()).alone)

    def test_help_needs_nothing_installed_and_shows_every_option(
        self,
    ) -> None:
        shown = subprocess.run(
            [sys.executable, '-S', '-m', 'tests.chaos.preflight', '-h'],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        self.assertIn('usage: tools/chaos.sh', shown)
        for option in (
            *('--matrix', '--seed', '--soak', '--minutes', '--no-plugin'),
            *('--clouds', '--phase', '--fault', '--json', '--rest', '--rst'),
        ):
            self.assertRegex(shown, rf'\n  {option}\b.*\n')

    def test_each_cloud_wants_its_own_memory(self) -> None:
        one, three = (
            preflight.needed(['--matrix', '--clouds', count])
            for count in ('1', '3')
        )
        self.assertEqual(3 * one.memory_mib(False), three.memory_mib(False))


class TidyTest(base.TestCase):
    def test_a_nova_compute_that_may_hang_does_not_meet_the_next_cell(
        self,
    ) -> None:
        for fault, kills in (('libvirtd-alone-source', 1), ('broker', 0)):
            stage = mock.create_autospec(Stage, instance=True)
            stage.others = []
            found = chaos_records.moved(fault=fault, after=None)
            tidy.up(stage, found)
            self.assertEqual(kills, stage.kill_computes.call_count)
            stage.start_computes.assert_called_once_with()


class FindingsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.file = folder / 'chaos.json'
        self.findings = (
            record.Findings({'QEMU': '10.0.2'})
            .plus(chaos_records.moved(others=(chaos_records.other(),)))
            .plus(chaos_records.moved(phase='landed', journal_entry=True))
            .plus(record.Inconclusive('journaled', 'broker', 'it ended'))
            .plus(chaos_records.moved(phase='transfer', plugin=False))
        )

    def test_what_was_written_is_read_again(self) -> None:
        store.write(self.findings, self.file)
        again = store.from_json(self.file.read_text())
        self.assertEqual(self.findings, again)
        self.assertEqual([self.file], list(self.file.parent.iterdir()))

    def test_another_file_is_refused(self) -> None:
        for text in ('', '[]', '{}', '{"format": 1}', '{"format": 9}'):
            self.assertRaises(ValueError, store.from_json, text)

    def test_a_cell_that_is_run_again_replaces_the_last(self) -> None:
        mended = chaos_records.moved(phase='landed')
        findings = self.findings.plus(mended)
        self.assertEqual(2, len(findings.records))
        self.assertEqual([], tables.losses(findings))
        ended = record.Inconclusive('landed', 'agent-killed', 'it ended')
        self.assertEqual(1, len(findings.plus(ended).records))

    def test_the_rest_is_what_was_not_run_or_inconclusive(
        self,
    ) -> None:
        cells = matrix.cells(
            [Phase.JOURNALED, Phase.RELEASING, Phase.TRANSFER],
            ['agent-killed', 'broker'],
        )
        rest = self.findings.rest(cells, plugin=True)
        self.assertEqual(5, len(rest))
        self.assertNotIn(Cell(Phase.RELEASING, 'agent-killed'), rest)
        plain = self.findings.rest(cells, plugin=False)
        self.assertEqual(5, len(plain))
        self.assertNotIn(Cell(Phase.TRANSFER, 'agent-killed'), plain)

    def test_runs_without_the_plugin_add_up(self) -> None:
        again = self.findings.plus(self.findings.without_plugin[0])
        self.assertEqual(
            len(self.findings.without_plugin) + 1, len(again.without_plugin)
        )
        self.assertEqual(self.findings.records, again.records)

    def test_the_manual_shows_outcome_and_seconds(self) -> None:
        text = tables.for_manual(self.findings)
        _above, head, body, below = re.split('^=[= ]+\n', text, flags=re.M)
        headings, *lines = (
            re.split(' {2,}', line) for line in (head + body).splitlines()
        )
        rows = {
            line[0]: dict(zip(headings, line, strict=True)) for line in lines
        }
        killed = rows['guest agent killed']
        self.assertEqual('moved 7.2 s', killed['releasing'])
        self.assertEqual('LOST: moved', killed['landed'])
        self.assertEqual('not run', killed['restoring'])
        self.assertIn(
            f'{killed["switch-over"]}: the guest is paused, so nothing', below
        )
        self.assertEqual(
            'inconclusive', rows['RabbitMQ restarted']['journaled']
        )

    def test_the_manual_shows_who_was_below_its_headroom(self) -> None:
        self.assertIn(
            'guests of 2 cells. In 2 of them it was never less',
            tables.for_manual(self.findings),
        )
        short = lab_guest.Headroom(2.5, 90 * 1024)
        other = chaos_records.other(headroom=short)
        text = tables.for_manual(
            self.findings.plus(
                chaos_records.moved(fault='several-abort', others=(other,))
            )
        )
        self.assertIn('guests of 3 cells. In 2 of them', text)
        self.assertRegex(text, r'four guests aborted +releasing +2\.5 +90\n')

    def test_the_manual_says_what_else_was_done_to_recover(self) -> None:
        text = tables.for_manual(
            self.findings.plus(
                chaos_records.moved(remarks=('nova-compute hung',))
            )
        )
        self.assertIn('moved 7.2 s (nova-compute hung)', text)

    def test_the_manual_counts_the_cells(self) -> None:
        self.assertIn(
            f'2 of {len(matrix.cells())} cells run: 1 whole, 1 with a loss',
            tables.for_manual(self.findings),
        )

    def test_a_terminal_shows_what_was_run(self) -> None:
        text = tables.for_terminal(self.findings)
        self.assertIn('moved 7.2 s', text)
        self.assertNotIn('restoring', text)


class SoakTest(base.TestCase):
    def test_a_difference_of_a_kibibyte_is_shown(self) -> None:
        after = chaos_records.after(
            balloon_kib=chaos_records.WHOLE_KIB + 1, boot_id='second'
        )
        shown = list(soak.drift(7, chaos_records.BEFORE, after, True))
        self.assertEqual(3, len(shown), shown)
        for line in shown:
            self.assertTrue(line.startswith('migration 7: '), line)

    def test_no_change_is_no_line(self) -> None:
        before = chaos_records.BEFORE
        self.assertEqual([], list(soak.drift(1, before, before, False)))

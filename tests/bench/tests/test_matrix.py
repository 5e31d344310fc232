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

"""What the benchmark measures, in which order, and what it accepts."""

from __future__ import annotations

import os
import pathlib

import ddt
import fixtures

from tests import base
from tests.bench import arguments
from tests.bench import matrix
from tests.bench import preflight
from tests.bench import runner
from tests.bench import scenarios
from tests.bench.tests import runs as bench_runs
from tests.lab import errors


class ScheduleTest(base.TestCase):
    def turns(self, rounds: int) -> list[tuple[int, str]]:
        found = matrix.schedule(
            bench_runs.FREED, ('plain', 'before', 'auto'), rounds
        )
        return [(turn.round, turn.method) for turn in found]

    def test_each_round_begins_with_another_method(self) -> None:
        self.assertEqual(
            [
                (1, 'plain'),
                (1, 'before'),
                (1, 'auto'),
                (2, 'before'),
                (2, 'auto'),
                (2, 'plain'),
                (3, 'auto'),
                (3, 'plain'),
                (3, 'before'),
            ],
            self.turns(3),
        )

    def test_more_rounds_than_methods_begin_anew(self) -> None:
        self.assertEqual((4, 'plain'), self.turns(4)[9])

    def test_quick_is_estimated_to_take_less_than_ten_minutes(self) -> None:
        turns = [
            turn
            for cell, methods in matrix.QUICK.items()
            for turn in matrix.schedule(cell, methods, matrix.QUICK_ROUNDS)
        ]
        seconds = matrix.estimate_seconds(turns, arguments.MEMORY_MIB)
        self.assertLess(seconds, 600)

    def test_bars_is_estimated_to_take_less_than_a_hundred_minutes(
        self,
    ) -> None:
        turns = [
            turn
            for cell, methods in matrix.BARS.items()
            for turn in matrix.schedule(cell, methods, matrix.ROUNDS)
        ]
        seconds = matrix.estimate_seconds(turns, arguments.MEMORY_MIB)
        self.assertLess(seconds, 100 * 60)

    def estimate(self, method: str, rounds: int = 1) -> float:
        cell = matrix.Cell('busy-fast', False, 1000)
        turns = matrix.schedule(cell, [method], rounds)
        return matrix.estimate_seconds(turns, 4096)

    def test_a_transfer_that_never_ends_is_waited_for_once(self) -> None:
        once, thrice = (self.estimate('plain', rounds) for rounds in (1, 3))
        self.assertEqual(once, thrice)
        self.assertGreater(once, 100)

    def test_one_that_ends_however_busy_the_guest_is_made_again(self) -> None:
        once, twice = (self.estimate('post-copy', number) for number in (1, 2))
        self.assertGreater(twice, 1.5 * once)

    def test_nobody_waits_for_a_transfer_less_than_it_takes(self) -> None:
        for mbps in (100, 1000, None):
            cell = matrix.Cell('full', False, mbps)
            (turn,) = matrix.schedule(cell, ['plain'], 1)
            self.assertGreater(
                matrix.patience_seconds(cell, 4096),
                matrix.estimate_seconds([turn], 4096) - 40,
            )

    def test_a_smaller_bandwidth_takes_longer(self) -> None:
        fast, slow = (
            matrix.estimate_seconds(
                [matrix.Turn(matrix.Cell('full', False, mbps), 1, 'plain')],
                4096,
            )
            for mbps in (1000, 500)
        )
        self.assertAlmostEqual(33, slow - fast, delta=2)


@ddt.ddt
class ArgumentsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.addCleanup(os.chdir, pathlib.Path.cwd())
        os.chdir(self.folder)

    def parse(self, words: str) -> dict[matrix.Cell, tuple[str, ...]]:
        return dict(arguments.parse(words.split()).cells)

    def test_everything_is_measured_unless_told_otherwise(self) -> None:
        request = arguments.parse([])
        self.assertEqual(3, request.rounds)
        self.assertEqual(9 * 2 * 2, len(request.cells))
        self.assertEqual(
            {('plain', 'before', 'during', 'auto')},
            set(request.cells.values()),
        )
        self.assertEqual(
            self.folder / 'freemem-bench' / 'bench.json', request.json
        )

    def test_plain_is_always_among_the_methods(self) -> None:
        cells = self.parse('--scenario full --link none --method auto')
        self.assertEqual(
            {
                matrix.Cell('full', reporting, None): ('plain', 'auto')
                for reporting in (True, False)
            },
            cells,
        )

    def test_what_else_there_is_can_be_measured(self) -> None:
        cells = self.parse('--scenario full --method post-copy auto+multifd')
        self.assertEqual(
            {('plain', 'auto+multifd', 'post-copy')}, set(cells.values())
        )

    def test_bars_has_a_bandwidth_that_is_not_usual(self) -> None:
        self.assertEqual(
            [matrix.Cell('freed', True, 10_000)],
            list(self.parse('--bars --link 10000')),
        )

    def test_another_bandwidth_can_be_measured(self) -> None:
        cells = self.parse('--scenario full --reporting on --link 100 none')
        self.assertEqual(
            [100, None], [cell.migration_bandwidth_mbps for cell in cells]
        )

    def test_quick_can_be_narrowed(self) -> None:
        cells = self.parse('--quick --reporting off')
        self.assertEqual([bench_runs.FREED], list(cells))
        self.assertEqual(1, arguments.parse(['--quick']).rounds)
        self.assertEqual(
            2, arguments.parse(['--quick', '--rounds', '2']).rounds
        )

    def test_quick_leaves_out_what_lacks_the_method_asked_for(self) -> None:
        cells = self.parse('--quick --method before')
        self.assertEqual(
            {('plain', 'before')}, {tuple(names) for names in cells.values()}
        )

    @ddt.unpack
    @ddt.data(
        ('--rounds 0', "--rounds: '0' is not a whole number between"),
        ('--rounds many', "--rounds: 'many' is not a whole number"),
        ('--scenario empty', "--scenario: invalid choice: 'empty'"),
        ('--scenario', 'expected at least one argument'),
        ('--method hint', "--method: invalid choice: 'hint'"),
        ('--bars --link 500', 'none of that is measured by --bars'),
        ('--link 5', '5 is not between 10 and 34000 Mbit/s'),
        ('--reporting maybe', "--reporting: invalid choice: 'maybe'"),
        ('--json /', '--json: / cannot be written'),
        ('--out /nowhere/at/all', '--out: /nowhere/at/all cannot be made'),
        ('--quick --scenario busy', 'none of that is measured by --quick'),
        ('--bars --scenario busy', 'none of that is measured by --bars'),
        ('--fast', 'unrecognized arguments: --fast'),
    )
    def test_wrong_words_are_refused(self, words: str, why: str) -> None:
        with self.assertRaises(errors.Refused) as refusal:
            preflight.needed(words.split())
        message = str(refusal.exception)
        self.assertIn(why, message)
        self.assertEqual(1, len(message.splitlines()))
        self.assertEqual([], list(self.folder.iterdir()))

    def test_right_words_need_the_guest_twice(self) -> None:
        need = preflight.needed(['--quick'])
        self.assertEqual(2 * 4096, need.memory_mib(True))
        self.assertTrue(need.alone)


@ddt.ddt
class SettledTest(base.TestCase):
    @ddt.unpack
    @ddt.data(
        ('too few looks', [900_000] * 5, False),
        ('still', [900_000] * 6, True),
        ('falling', [900_000 - 2000 * look for look in range(6)], False),
        ('fallen', [3_000_000, *[900_000 - look for look in range(6)]], True),
        ('growing', [900_000 + 9000 * look for look in range(6)], True),
    )
    def test_a_resident_size_that_falls_no_more_is_settled(
        self, _what: str, rss_kib: list[int], is_settled: bool
    ) -> None:
        self.assertIs(is_settled, runner.has_settled(rss_kib))


class ScenariosTest(base.TestCase):
    def test_the_plugin_sends_no_more_than_plain(self) -> None:
        for scenario in scenarios.SCENARIOS.values():
            for reporting in (True, False):
                with_plugin, plain = (
                    scenario.sent_share(reporting, is_released)
                    for is_released in (True, False)
                )
                self.assertLessEqual(with_plugin, plain)
                self.assertGreater(with_plugin, 0)

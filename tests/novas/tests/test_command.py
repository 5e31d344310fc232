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

"""What tools/novas.sh and tools/nova-suite.sh print, and their exit codes."""

import contextlib
import io
import pathlib
from typing import Any

import fixtures

from tests import base
from tests.novas import __main__ as command
from tests.novas import releases
from tests.novas import runs


class CommandTestCase(base.TestCase):
    """Runs end as the test has it."""

    def setUp(self) -> None:
        super().setUp()
        self.place = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.patch_autospec(
            releases.Environment, 'version', return_value='34.0.0'
        )
        self.patch_autospec(runs, 'run', side_effect=self._run)
        #: What becomes of the tests, by the driver they run with, or by what
        #: nova-compute runs on.
        self.statuses: dict[str, dict[str, str]] = {}
        self.ran: list[tuple[str, set[str]]] = []

    def _run(
        self,
        environment: releases.Environment,
        folder: str,
        log: pathlib.Path,
        variables: dict[str, str],
        only: Any = (),
    ) -> runs.Run:
        log.write_text('what failed\n')
        driver = variables.get('NOVA_FREEMEM_DRIVER')
        threads = variables['OS_NOVA_DISABLE_EVENTLET_PATCHING'] == 'true'
        kind = driver or ('threads' if threads else 'eventlet')
        self.ran.append((kind, set(only)))
        return runs.Run(self.statuses[kind], 0, 61.4)

    def run_command(self, *words: str) -> tuple[int, list[str]]:
        """:returns: exit code, and the lines that are printed."""
        arguments = command.parse(
            [words[0], '--place', str(self.place), *words[1:], '34=/venv']
        )
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()),
        ):
            code = arguments.run(arguments)
        return code, out.getvalue().splitlines()


class FunctionalTest(CommandTestCase):
    def test_each_mode_has_its_row_and_the_last_line_has_the_sum(self) -> None:
        self.statuses['eventlet'] = {'a': 'success', 'b': 'success'}
        self.statuses['threads'] = {'a': 'success', 'b': 'skip'}
        code, lines = self.run_command('functional')
        self.assertEqual(0, code)
        self.assertEqual('3 passed, 0 failed, 1 skipped', lines[-1])
        self.assertEqual(
            [
                ['34.0.0', 'threads', '1', '0', '1'],
                ['34.0.0', 'eventlet', '2', '0', '0'],
            ],
            [line.split() for line in lines if line.startswith('34.0.0')],
        )
        self.assertIn('34.0.0', (self.place / 'functional.rst').read_text())

    def test_failure_is_shown_and_is_the_exit_code(self) -> None:
        self.statuses['eventlet'] = {'a': 'success'}
        self.statuses['threads'] = {'a': 'fail'}
        code, lines = self.run_command('functional')
        self.assertEqual(1, code)
        self.assertEqual('1 passed, 1 failed', lines[-1])
        self.assertIn('what failed', lines)


class SuiteTest(CommandTestCase):
    def test_what_passes_does_not_run_again(self) -> None:
        self.statuses['freemem'] = {'a': 'success'}
        code, lines = self.run_command('suite')
        self.assertEqual(0, code)
        self.assertEqual('differences: 0', lines[-1])
        self.assertEqual([('freemem', set())] * 2, self.ran)
        self.assertIn('unit', (self.place / 'suite.rst').read_text())

    def test_what_fails_with_our_driver_alone_is_listed(self) -> None:
        self.statuses['freemem'] = {'a': 'success', 'b': 'fail', 'c': 'fail'}
        self.statuses['stock'] = {'b': 'success', 'c': 'fail'}
        code, lines = self.run_command('suite', '--unit')
        self.assertEqual(1, code)
        self.assertEqual(['34.0.0: b', 'differences: 1'], lines[-2:])
        self.assertEqual([('freemem', set()), ('stock', {'b', 'c'})], self.ran)

    def test_a_run_that_breaks_off_is_a_difference(self) -> None:
        self.statuses['freemem'] = {}
        code, lines = self.run_command('suite', '--unit')
        self.assertEqual(1, code)
        self.assertEqual('34.0.0: it ended early', lines[-2])

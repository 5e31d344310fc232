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

"""What a run of tests in a release of Nova came to."""

import io
import pathlib
import subprocess
from typing import Any

import fixtures
import subunit

from tests import base
from tests.novas import releases
from tests.novas import runs


def stream(**statuses: str) -> bytes:
    """:returns: what a runner writes of tests that end so."""
    written = io.BytesIO()
    result = subunit.StreamResultToBytes(written)
    result.startTestRun()
    for test, status in statuses.items():
        result.status(test_id=test, test_status='inprogress')
        if status != 'inprogress':
            result.status(test_id=test, test_status=status)
    result.stopTestRun()
    return written.getvalue()


def ended(*, exit_code: int = 0, **statuses: str) -> runs.Run:
    """:returns: a run whose tests end so."""
    return runs.Run(runs.read_statuses(stream(**statuses)), exit_code, 1.0)


class TallyTest(base.TestCase):
    def test_each_test_is_counted_once(self) -> None:
        run = ended(exit_code=1, a='success', b='xfail', c='fail', d='skip')
        self.assertEqual(runs.Tally(2, 1, 1), run.tally)

    def test_a_test_that_never_ended_has_failed(self) -> None:
        run = ended(exit_code=1, a='success', b='inprogress')
        self.assertEqual(runs.Tally(1, 1, 0), run.tally)

    def test_a_run_that_broke_off_between_two_tests_has_failed(self) -> None:
        run = ended(exit_code=3, a='success')
        self.assertEqual('1 passed, 1 failed', str(run.tally))
        self.assertTrue(run.ended_early)

    def test_a_run_without_tests_has_failed(self) -> None:
        self.assertEqual(runs.Tally(0, 1, 0), ended().tally)

    def test_a_test_that_failed_tells_why_the_runner_did(self) -> None:
        self.assertFalse(ended(exit_code=1, a='fail').ended_early)

    def test_closing_line(self) -> None:
        self.assertEqual('2 passed, 1 failed', str(runs.Tally(2, 1)))
        self.assertEqual(
            '5 passed, 1 failed, 1 skipped',
            str(runs.Tally(2, 1) + runs.Tally(3, 0, 1)),
        )


class DifferencesTest(base.TestCase):
    def test_what_passes_with_novas_driver_alone_is_a_difference(self) -> None:
        ours = ended(exit_code=1, a='success', b='fail', c='skip')
        stock = ended(b='success', c='success')
        self.assertEqual(['b', 'c'], runs.differences(ours, stock))

    def test_what_fails_with_novas_driver_too_is_none(self) -> None:
        ours = ended(exit_code=1, a='success', b='fail', c='skip')
        stock = ended(exit_code=1, b='fail', c='skip')
        self.assertEqual([], runs.differences(ours, stock))

    def test_what_did_not_run_with_novas_driver_is_one(self) -> None:
        ours = ended(exit_code=1, a='fail')
        self.assertEqual(['a'], runs.differences(ours, ended(exit_code=1)))


class RunTest(base.TestCase):
    """The runner is called in the environment of the release."""

    def setUp(self) -> None:
        super().setUp()
        place = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.log = place / 'log'
        self.environment = releases.Environment(31, place / 'venv')
        self.ran: list[tuple[list[str], dict[str, str]]] = []
        self.exit_code = 0
        self.tests: list[str] = []
        self.patch_autospec(subprocess, 'run', side_effect=self._runner)

    def _runner(
        self, command: list[str], *, env: dict[str, str], **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        self.ran.append((command, env))
        if '--subunit' in command:
            return subprocess.CompletedProcess(command, 0, stream(a='fail'))
        if '--load-list' in command:
            names = pathlib.Path(command[-1])
            self.tests = names.read_text().splitlines()
        options['stdout'].write('said\n')
        return subprocess.CompletedProcess(command, self.exit_code)

    def run_tests(self, *only: str) -> runs.Run:
        """:returns: what became of tests of a folder."""
        mode = releases.Mode.THREADS
        return runs.run(
            self.environment, 'folder', self.log, mode.variables, only
        )

    def test_release_mode_and_folder_are_the_runners(self) -> None:
        self.run_tests()
        command, env = self.ran[0]
        self.assertIn(f'{self.environment.venv}/bin/stestr', command)
        self.assertEqual('folder', env['TEST_SUITE'])
        self.assertEqual('true', env['OS_NOVA_DISABLE_EVENTLET_PATCHING'])
        self.assertTrue(
            env['PATH'].startswith(f'{self.environment.venv}/bin:')
        )

    def test_only_the_tests_that_are_named_run(self) -> None:
        self.run_tests('one', 'two')
        self.assertEqual(['one', 'two'], self.tests)

    def test_one_that_hangs_is_interrupted(self) -> None:
        self.run_tests()
        command, _ = self.ran[0]
        self.assertEqual('timeout', command[0])
        self.assertIn('--signal=INT', command)
        self.assertEqual('3600', command[4])

    def test_log_ends_with_what_failed(self) -> None:
        self.exit_code = 1
        run = self.run_tests()
        self.assertEqual({'a': 'fail'}, run.statuses)
        self.assertEqual(1, run.exit_code)
        self.assertEqual('said\nsaid\n', self.log.read_text())

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

"""The lab shows its steps, and says which one failed and why."""

import io
import pathlib
from unittest import mock

import fixtures
from rich import console as rich_console

from tests import base
from tests.lab import steps

_LOG = pathlib.Path('/somewhere/log/keystone.log')


class StepTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.shown = io.StringIO()
        board = steps.Board(rich_console.Console(file=self.shown))
        patcher = mock.patch.object(steps, 'BOARD', board)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_step_is_shown_with_its_seconds(self) -> None:
        with steps.step('start keystone'):
            pass
        self.assertRegex(self.shown.getvalue(), r'^ +0\.0 s  start keystone\n')

    def test_failure_names_step_reason_and_log(self) -> None:
        with (
            self.assertRaises(steps.LabError) as caught,
            steps.step('start keystone', _LOG),
        ):
            raise RuntimeError('exit code 1')
        self.assertEqual(
            f'start keystone: exit code 1; log: {_LOG}', str(caught.exception)
        )
        self.assertIn('start keystone: failed', self.shown.getvalue())

    def test_failure_names_the_step_inside(self) -> None:
        with (
            self.assertRaises(steps.LabError) as caught,
            steps.step('bring up the cloud'),
            steps.step('start keystone', _LOG),
        ):
            raise RuntimeError('exit code 1')
        self.assertEqual('start keystone', caught.exception.step)

    def test_refusal_stays_a_refusal(self) -> None:
        with self.assertRaises(steps.Refused), steps.step('boot'):
            raise steps.Refused('there is no server x')


class InParallelTest(base.TestCase):
    def test_results_are_in_the_order_of_the_calls(self) -> None:
        self.assertEqual([1, 2], steps.in_parallel(lambda: 1, lambda: 2))

    def test_failure_is_raised_when_all_have_ended(self) -> None:
        ended = []

        def fail() -> None:
            raise RuntimeError('no')

        with self.assertRaisesRegex(RuntimeError, 'no'):
            steps.in_parallel(fail, lambda: ended.append(True))
        self.assertEqual([True], ended)


class WaitForTest(base.TestCase):
    def test_first_true_answer_ends_the_wait(self) -> None:
        probe = mock.Mock(spec=lambda: None, side_effect=[None, 0, 'there'])
        answer = steps.wait_for(probe, 'it', seconds=5, every_seconds=0)
        self.assertEqual('there', answer)

    def test_late_answer_is_named(self) -> None:
        with self.assertRaisesRegex(TimeoutError, '^the agent: not within 0'):
            steps.wait_for(lambda: False, 'the agent', 0, every_seconds=0)


class LastLinesTest(base.TestCase):
    def test_end_of_a_log(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        log = folder / 'a.log'
        log.write_text('1 ERROR one\n2 INFO two\n3 ERROR three\n')
        self.assertEqual('3 ERROR three', steps.last_lines(log, 1))
        self.assertEqual(
            '1 ERROR one\n3 ERROR three',
            steps.last_lines(log, containing=' ERROR '),
        )

    def test_log_that_is_not_there(self) -> None:
        self.assertEqual('', steps.last_lines(_LOG))

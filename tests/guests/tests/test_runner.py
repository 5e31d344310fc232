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

"""What a guest is asked before and after its migration."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
from unittest import mock

import ddt
import fixtures

from tests import base
from tests.bench import base as bench_base
from tests.guests import cases
from tests.guests import runner
from tests.lab import guest as lab_guest

VMSTAT = 'nr_free_pages 77\npswpout 3\nallocstall_normal 2\n'
JOURNAL = 'kernel: Linux version 6.1\nsystemd[1]: Started load.service.\n'


@ddt.ddt
class RunnerTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.guest = mock.create_autospec(lab_guest.Guest, instance=True)
        self.guest.do.side_effect = lambda program, *words, seconds=60: {
            'cat': VMSTAT,
            'journalctl': JOURNAL,
        }.get(program, '')

    @property
    def started(self) -> tuple[str, ...]:
        calls = [call.args for call in self.guest.do.call_args_list]
        (words,) = (words for words in calls if words[0] == 'systemd-run')
        return words

    def put_to_work(self, case: cases.Case) -> None:
        runner._put_to_work(self.guest, case, runner._FULL)

    def test_an_account_has_the_counters_that_matter(self) -> None:
        self.guest.exec.return_value = lab_guest.Finished(
            0, 'active\nactive\n', ''
        )
        account = runner._account(self.guest, cases.CASES['redis'])
        self.assertEqual(
            {'pswpout': 3, 'allocstall_normal': 2}, account.counters
        )
        self.assertEqual(2, len(account.journal))
        self.assertEqual(frozenset(), account.inactive)

    def test_a_log_that_is_longer_than_an_answer_is_read_whole(self) -> None:
        log = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'log')
        log.write_text('1.0 2\n' * 900_000)

        def do(*words: str, seconds: float) -> str:
            out = subprocess.run(words, stdout=subprocess.PIPE, check=True)
            self.assertLessEqual(len(out.stdout), 2 << 20)
            return out.stdout.decode()

        self.guest.do.side_effect = do
        case = dataclasses.replace(cases.CASES['jvm'], log=f'{log}*')
        self.assertEqual(log.read_text(), runner._log(self.guest, case))

    def test_a_log_that_grows_faster_than_it_is_read_is_read_once(
        self,
    ) -> None:
        log = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'log')
        log.write_text('1.0 2\n')

        def do(*words: str, seconds: float) -> str:
            out = subprocess.run(words, stdout=subprocess.PIPE, check=True)
            with log.open('a') as file:
                file.write('1.0 2\n')
            return out.stdout.decode()

        self.guest.do.side_effect = do
        case = dataclasses.replace(cases.CASES['jvm'], log=f'{log}*')
        self.assertEqual('1.0 2\n', runner._log(self.guest, case))

    def test_a_load_that_has_ended_is_not_active(self) -> None:
        self.guest.exec.return_value = lab_guest.Finished(
            3, 'active\nfailed\n', ''
        )
        account = runner._account(self.guest, cases.CASES['redis'])
        self.assertEqual(frozenset({'load.service'}), account.inactive)

    @mock.patch('time.sleep', autospec=True)
    def test_the_load_is_one_that_the_guest_can_run(
        self, sleep: mock.Mock
    ) -> None:
        self.put_to_work(cases.CASES['redis'])
        program, _, *words = self.started
        self.assertEqual('systemd-run', program)
        python, _, source, *words = words
        self.assertEqual('python3', python)
        compile(source, 'load.py', 'exec')
        self.assertEqual([cases.LOG, *cases.CASES['redis'].load], list(words))

    @mock.patch('time.sleep', autospec=True)
    def test_a_program_of_the_guest_writes_its_own_log(
        self, sleep: mock.Mock
    ) -> None:
        self.put_to_work(cases.CASES['postgresql'])
        self.assertEqual(cases.CASES['postgresql'].load, self.started[2:])

    @ddt.unpack
    @ddt.data(('1.0 2', 0), ('', 1))
    @mock.patch('time.sleep', autospec=True)
    def test_work_that_never_begins_is_not_measured(
        self, log: str, code: int, sleep: mock.Mock
    ) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (folder / 'log.1').write_text(log)
        (folder / 'systemctl').write_text('#!/bin/sh\nexit 1\n')
        (folder / 'systemctl').chmod(0o755)
        self.put_to_work(
            dataclasses.replace(
                cases.CASES['redis'], prepare='', log=f'{folder}/log.*'
            )
        )
        # It waits for the first answer for as long as the service runs.
        calls = [call.args for call in self.guest.do.call_args_list]
        waits = subprocess.run(
            calls[-2],
            env={'PATH': f'{folder}:{os.environ["PATH"]}'},
            check=False,
        )
        self.assertEqual(code, waits.returncode)

    @mock.patch.object(runner, '_run', autospec=True)
    @mock.patch.object(runner, '_find', autospec=True)
    def test_a_guest_whose_run_failed_rests_before_its_next_case(
        self, find: mock.Mock, run: mock.Mock
    ) -> None:
        find.return_value = self.guest
        run.side_effect = TimeoutError
        self.assertRaises(
            TimeoutError,
            runner.run_quickly,
            cases.CASES['redis'],
            'plain',
            1,
            bench_base.Plain(),
        )
        self.guest.let_go.assert_called_once_with()
        stopped, _ = self.guest.exec.call_args_list
        self.assertEqual(
            ['systemctl', 'stop', 'load.service', 'redis-server'],
            stopped.args[0],
        )
        self.assertIn('swapoff', self.guest.do.call_args.args[-1])

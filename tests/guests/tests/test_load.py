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

"""The program that works in the guests, and their shell scripts."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import socket
import subprocess
from unittest import mock

import ddt
import fixtures

from tests import base
from tests.guests import cases
from tests.guests import runner
from tests.guests import work
from tests.guests.inside import bundle
from tests.guests.inside import load


class LoadTest(base.TestCase):
    def test_a_piece_of_work_is_written_down_and_read_again(self) -> None:
        (piece,) = work.parse(load.attempt(lambda: None))
        self.assertIsNotNone(piece.milliseconds)
        self.assertGreater(piece.at_seconds, 1e9)

    @mock.patch('time.sleep', autospec=True)
    def test_a_fork_that_is_refused_is_written_down(
        self, sleep: mock.Mock
    ) -> None:
        memory = load.Memory('1', '1')
        with mock.patch.object(
            os, 'fork', autospec=True, side_effect=OSError('ENOMEM')
        ):
            line = load.attempt(memory)
        (piece,) = work.parse(line)
        self.assertIsNone(piece.milliseconds)
        sleep.assert_called_once()

    def test_work_on_memory_ends_the_processes_that_it_forks(self) -> None:
        load.Memory('1', '1')()
        self.assertRaises(ChildProcessError, os.waitpid, -1, os.WNOHANG)

    def test_a_command_that_fails_is_work_that_fails(self) -> None:
        load.Run('true')()
        self.assertRaises(OSError, load.Run('false'))

    @mock.patch('socket.create_connection', autospec=True)
    def test_an_answer_of_redis_comes_in_any_pieces(
        self, connect: mock.Mock
    ) -> None:
        connection = mock.create_autospec(socket.socket, instance=True)
        connect.return_value = connection
        values = 20 * b'$4\r\nabcd\r\n'
        connection.recv.side_effect = [
            b'+OK\r\n',
            b'+OK\r',
            b'\n' + values[:33],
            values[33:],
            TimeoutError('waited for more than there is'),
        ]
        load.Redis('5', '4')()
        self.assertEqual(4, connection.recv.call_count)

    def test_a_container_runs_its_command_with_its_limit(self) -> None:
        folder = self.useFixture(fixtures.TempDir()).path
        bundle.main(folder, '200', 'python3', 'load.py')
        config = json.loads(pathlib.Path(folder, 'config.json').read_text())
        self.assertEqual(['python3', 'load.py'], config['process']['args'])
        limits = config['linux']['resources']
        self.assertEqual({'memory': {'limit': 200 << 20}}, limits)

    def test_a_jvm_writes_down_its_work_as_the_others_do(self) -> None:
        if shutil.which('java') is None:
            self.skipTest('there is no Java here')
        source = pathlib.Path(load.__file__).with_name('Service.java')
        words = ('java', '-Xmx64m', str(source), '/dev/stdout', '1')
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True
        ) as service:
            assert service.stdout is not None
            log = ''.join(service.stdout.readline() for _ in range(100))
            service.kill()
        pieces = work.parse(log)
        self.assertEqual(100, len(pieces))
        self.assertGreater(work.pace(pieces, 1e9, 1e10).p99_ms or 0, 0)


@ddt.ddt
class CasesTest(base.TestCase):
    @ddt.data(*cases.CASES.values())
    def test_its_scripts_are_shell(self, case: cases.Case) -> None:
        for script in (case.setup, case.prepare):
            done = subprocess.run(
                ['sh', '-n'], input=script, capture_output=True, text=True
            )
            self.assertEqual((0, ''), (done.returncode, done.stderr))

    def test_the_cases_of_a_quick_run_share_a_guest(self) -> None:
        quick = [cases.CASES[name] for name in cases.QUICK]
        self.assertEqual(1, len({runner.system(case) for case in quick}))
        self.assertEqual(1, len({case.memory_mib for case in quick}))

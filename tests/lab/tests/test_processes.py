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

"""The lab ends the processes it started, and no others."""

import dataclasses
import pathlib
import subprocess
from unittest import mock

import fixtures
import psutil

from tests import base
from tests.lab import layout
from tests.lab import processes
from tests.lab import steps

_FOREVER = ('sleep', '60')


def _state(pid: int) -> str:
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return 'gone'


class DaemonTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        lab = layout.Lab(state=self.folder, cache=self.folder)
        patcher = mock.patch.object(layout, 'LAB', lab)
        patcher.start()
        self.addCleanup(patcher.stop)

    def daemon(self, *argv: str) -> processes.Daemon:
        daemon = processes.Daemon('one', argv, self.folder / 'one.log')
        self.addCleanup(daemon.stop)
        return daemon

    def test_process_lives_from_start_to_stop(self) -> None:
        daemon = self.daemon(*_FOREVER)
        self.assertFalse(daemon.alive)
        daemon.start()
        self.assertTrue(daemon.alive)
        daemon.stop()
        self.assertFalse(daemon.alive)
        self.assertFalse(daemon.pid_file.exists())

    def test_running_process_is_not_started_again(self) -> None:
        daemon = self.daemon(*_FOREVER)
        daemon.start()
        pid = daemon.pid
        daemon.start()
        self.assertEqual(pid, daemon.pid)

    def test_its_children_end_with_it(self) -> None:
        daemon = self.daemon('sh', '-c', 'sleep 60 & echo $!; wait')
        daemon.start()
        child = None
        while not child:
            child = daemon.log.read_text()
        daemon.stop()
        self.assertIn(_state(int(child)), ('zombie', 'gone'))

    def test_process_that_will_not_end_is_killed(self) -> None:
        stubborn = self.daemon('sh', '-c', 'trap "" TERM; echo; sleep 60')
        daemon = dataclasses.replace(stubborn, grace_seconds=0)
        daemon.start()
        while not daemon.log.read_text():
            pass
        daemon.stop()
        self.assertFalse(daemon.alive)

    def test_a_suspended_process_and_its_children_go_on_later(self) -> None:
        daemon = self.daemon('sh', '-c', 'sleep 60 & echo $!; wait')
        daemon.start()
        child = None
        while not child:
            child = daemon.log.read_text()
        for do, states in (
            (processes.suspend, {psutil.STATUS_STOPPED}),
            (processes.resume, {psutil.STATUS_SLEEPING}),
        ):
            do(daemon.pid_file)
            both = (daemon.pid, int(child))
            steps.wait_for(
                lambda: {_state(pid) for pid in both} == states,  # noqa: B023
                f'{states}',
                10,
            )

    def test_a_process_that_ends_early_is_reported_with_its_log(self) -> None:
        daemon = dataclasses.replace(
            self.daemon('sh', '-c', 'echo no such database'),
            ready=lambda: False,
        )
        with self.assertRaisesRegex(RuntimeError, 'no such database'):
            daemon.start()

    def test_another_process_with_the_same_pid_is_not_ended(self) -> None:
        for part in (0, 1):
            with (
                self.subTest(part=('start', 'boot')[part]),
                subprocess.Popen(_FOREVER, start_new_session=True) as other,
            ):
                self.addCleanup(other.kill)
                daemon = self.daemon(*_FOREVER)
                self._write_pid_file_of_another(daemon, other.pid, part)
                self.assertFalse(daemon.alive)
                daemon.stop()
                self.assertIsNone(other.poll())
                other.kill()

    def test_pid_file_names_the_process_that_has_been_started(self) -> None:
        daemon = self.daemon(*_FOREVER)
        daemon.start()
        identity = processes._identity(daemon.pid)
        self.assertEqual(
            f'{daemon.pid} {identity}', daemon.pid_file.read_text()
        )

    def _write_pid_file_of_another(
        self, daemon: processes.Daemon, pid: int, part: int
    ) -> None:
        """Write the pid file of a process that had this pid before.

        :param part: what differs: 0 its start, 1 the boot.
        """
        identity = processes._identity(pid).split()
        identity[part] = 'another'
        daemon.pid_file.parent.mkdir(exist_ok=True)
        daemon.pid_file.write_text(' '.join([f'{pid}', *identity]))

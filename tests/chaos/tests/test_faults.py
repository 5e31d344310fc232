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


"""Faults do what they say, tried without a cloud."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from unittest import mock

from nova_freemem.cli import restore
from tests import base
from tests.chaos import faults
from tests.chaos.faults import commands
from tests.chaos.faults import emulators
from tests.chaos.faults import operations
from tests.chaos.faults import services
from tests.chaos.stage import Other
from tests.chaos.stage import Stage
from tests.lab import compute
from tests.lab import room
from tests.lab import steps

_FOLDER = pathlib.Path(faults.__file__).parent
_READ = """\
from nova_freemem.restore import journal
print(journal.JournalEntry.from_xml({!r}).original_kib)
"""
_ENTRY = (
    '<outstanding format="1" original_kib="786432" source="host1"'
    ' released_at="2026-11-26T12:00:00+00:00" migration="chaos"'
    ' stats_period_seconds="10"/>'
)


class FaultTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.stage = mock.create_autospec(Stage, instance=True)
        self.stage.server = mock.sentinel.server

    def test_a_plugin_of_another_format_does_not_read_our_entries(
        self,
    ) -> None:
        ours, others = (
            subprocess.run(
                [sys.executable, '-c', _READ.format(_ENTRY)],
                env={'PYTHONPATH': os.pathsep.join(path)},
                cwd=_FOLDER.parents[2],
                capture_output=True,
                text=True,
            )
            for path in ([], [str(_FOLDER / 'newer')])
        )
        self.assertEqual('786432\n', ours.stdout, ours.stderr)
        self.assertIn('JournalUnreadable', others.stderr)
        self.assertIn('its format is not 2', others.stderr)

    def test_the_other_host_is_reached_without_an_ssh_server(self) -> None:
        called = subprocess.run(
            [
                str(_FOLDER / 'bin' / 'ssh'),
                *('-o', 'BatchMode=yes', '198.18.76.12'),
                *('echo', 'two  words'),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual('two  words\n', called.stdout)

    def test_a_command_is_run_on_both_hosts_and_waited_for(self) -> None:
        run = self.patch_autospec(restore.Restore, 'run')
        command = commands.Restore()
        command.prepare(self.stage)
        command.inject(self.stage)
        command.recover(self.stage)
        uris = [call.args[1].uri for call in run.mock_calls]
        self.assertEqual(2, len(set(uris)), uris)
        self.assertTrue(all(call.args[1].all for call in run.mock_calls))

    def test_qemu_of_the_first_guest_that_is_there_is_stopped(self) -> None:
        away, here = (
            Other(mock.Mock(spec_set=['id']), *room.hosts()) for _ in range(2)
        )
        self.stage.others = [away, here]
        process = mock.Mock(spec_set=['suspend', 'resume'])
        self.patch_autospec(
            emulators,
            'find',
            side_effect=[steps.LabError('find QEMU', 'none'), process],
        )
        fault = emulators.AnotherStopped('destination')
        fault.inject(self.stage)
        self.assertEqual((False, True), (away.is_stopped, here.is_stopped))
        process.suspend.assert_called_once_with()
        process.resume.assert_not_called()
        fault.recover(self.stage)
        process.resume.assert_called_once_with()

    def test_nova_compute_is_restarted_where_it_hangs(self) -> None:
        self.patch_autospec(services.emulators, 'revive')
        kill = self.patch_autospec(services.processes, 'kill')
        self.stage.others = [
            Other(mock.sentinel.another, *room.hosts()),
        ]
        for is_idle in (True, False):
            self.stage.is_idle.side_effect = [True, is_idle]
            fault = services.LibvirtdAlone('destination')
            fault.recover(self.stage)
            self.assertEqual(is_idle, fault.remarks == [])
            self.assertEqual(is_idle, kill.mock_calls == [])

    def test_nova_compute_that_is_stopped_gets_time_to_end(self) -> None:
        kill = self.patch_autospec(services.processes, 'kill')
        stopped = mock.create_autospec(compute.Compute, instance=True)
        stopped.daemon = mock.sentinel
        self.stage.compute.return_value = stopped
        for late in (None, TimeoutError):
            stopped.reset_mock()
            kill.reset_mock()
            stopped.wait_ended.side_effect = late
            fault = services.ComputeStopped('source')
            fault.inject(self.stage)
            stopped.terminate.assert_called_once_with()
            stopped.wait_ended.assert_not_called()
            self.stage.start_computes.reset_mock()
            stopped.wait_ended.side_effect = late
            fault.recover(self.stage)
            stopped.wait_ended.assert_called_once_with(90)
            kill.assert_called_once_with(mock.sentinel.pid_file)
            self.stage.start_computes.assert_called_once_with()
            self.assertEqual(late is None, fault.remarks == [])

    def test_what_nova_refused_is_not_undone(self) -> None:
        fault = operations.Suspend()
        fault.recover(self.stage)
        self.assertEqual([], self.stage.mock_calls)

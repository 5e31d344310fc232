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


"""Two labs of one folder keep off one another."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
from unittest import mock

import fixtures

from tests import base
from tests.lab import errors
from tests.lab import layout
from tests.lab import lock
from tests.lab import machine
from tests.lab import preflight

_HOLDER = """\
import pathlib, sys, time
from tests.lab import layout, lock
layout.LAB = layout.lab_from({'NOVA_FREEMEM_LAB': sys.argv[1]}, True)
lock.take()
print('held', flush=True)
time.sleep(60)
"""


class LockTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.state = folder / 'lab'
        lab = layout.Lab(state=self.state, cache=folder)
        for patcher in (
            mock.patch.object(layout, 'LAB', lab),
            mock.patch.object(lock, '_held', []),
            mock.patch.object(lock, '_ASKERS_SECONDS', 0.01),
        ):
            patcher.start()
            self.addCleanup(patcher.stop)
        self.addCleanup(self._let_go)

    def _let_go(self) -> None:
        for stream in lock._held:
            stream.close()

    def another(self) -> subprocess.Popen[str]:
        holder = subprocess.Popen(
            [sys.executable, '-c', _HOLDER, str(self.state)],
            cwd=pathlib.Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(holder.communicate)
        self.addCleanup(holder.kill)
        assert holder.stdout is not None
        self.assertEqual('held\n', holder.stdout.readline())
        return holder

    def test_a_lab_that_nobody_has_is_to_be_had_more_than_once(self) -> None:
        self.assertIsNone(lock.complaint())
        lock.take()
        lock.take()
        self.assertIsNone(lock.complaint())
        self.assertEqual(1, len(lock._held))

    def test_who_comes_second_is_told_who_is_there(self) -> None:
        holder = self.another()
        with self.assertRaises(errors.Refused) as refusal:
            lock.take()
        name = pathlib.Path(sys.executable).name
        told = f'in use by process {holder.pid} ({name} -c import'
        for message in (
            str(refusal.exception),
            str(lock.complaint()),
            *machine.check_lock(),
        ):
            self.assertIn(told, message)
            self.assertEqual(1, len(message.splitlines()))

    def test_who_was_killed_has_it_no_more(self) -> None:
        holder = self.another()
        holder.kill()
        holder.wait()
        self.assertIsNone(lock.complaint())
        lock.take()

    def test_a_folder_that_was_removed_is_taken_anew(self) -> None:
        lock.take()
        shutil.rmtree(self.state)
        self.assertIsNone(lock.complaint())
        lock.take()
        self.assertTrue((self.state / 'lock').exists())

    def test_what_brings_the_lab_up_or_down_wants_it_alone(self) -> None:
        for words in ('up', 'down', 'demo', 'test libvirt', 'test cloud'):
            self.assertTrue(preflight.needed(words.split()).alone, words)
        for words in ('status', 'boot a', 'migrate a', 'exec a ls'):
            self.assertFalse(preflight.needed(words.split()).alone, words)

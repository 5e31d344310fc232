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


"""A process sees the clock jump, and this machine's clock stays."""

from __future__ import annotations

import pathlib
import shutil
import struct
import subprocess
import sys
import time
from unittest import mock

import fixtures

from tests import base
from tests.chaos.faults import hosts
from tests.lab import layout

_WATCH = """\
import sys, time
print(time.time() - time.monotonic(), flush=True)
sys.stdin.readline()
print(time.time() - time.monotonic(), flush=True)
"""


class ClockTest(base.TestCase):
    def test_the_time_of_day_jumps_and_no_other_clock(self) -> None:
        if not shutil.which('gcc'):
            self.skipTest('there is no C compiler here')
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        lab = layout.Lab(state=folder, cache=folder)
        offset = folder / 'offset'
        offset.write_bytes(struct.pack('=q', 0))
        with mock.patch.object(layout, 'LAB', lab):
            library = hosts.library()
        with subprocess.Popen(
            [sys.executable, '-c', _WATCH],
            env={
                'LD_PRELOAD': str(library),
                'FREEMEM_CLOCK_OFFSET': str(offset),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            before = float(process.stdout.readline())
            with offset.open('r+b') as file:
                file.write(struct.pack('=q', 3600))
            process.stdin.write('\n')
            process.stdin.flush()
            after = float(process.stdout.readline())
        self.assertAlmostEqual(time.time() - time.monotonic(), before, 0)
        self.assertAlmostEqual(3600, after - before, 1)

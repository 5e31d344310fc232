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

"""Each command shows its own options."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import os
import pathlib
import subprocess
import sys

import ddt
import fixtures

from tests import base
from tests.bench import arguments
from tests.bench import fit
from tests.bench import report

ROOT = pathlib.Path(__file__).parents[3]


@ddt.ddt
class HelpTest(base.TestCase):
    @ddt.unpack
    @ddt.data(
        (arguments.parse, 'tools/bench.sh', '--scenario'),
        (fit.parse, 'python -m tests.bench.fit', '--rst OUT'),
        (report.parse, 'python -m tests.bench.report', 'FILE'),
    )
    def test_help_shows_the_options_of_the_command(
        self,
        parse: Callable[[Sequence[str]], object],
        program: str,
        option: str,
    ) -> None:
        shown = self.useFixture(fixtures.StringStream('stdout')).stream
        self.useFixture(fixtures.MonkeyPatch('sys.stdout', shown))
        stop = self.assertRaises(SystemExit, parse, ['--help'])
        self.assertEqual(0, stop.code)
        shown.seek(0)
        text = shown.read()
        self.assertIn(f'usage: {program} ', text)
        self.assertIn(option, text)

    def test_help_needs_nothing_but_the_standard_library(self) -> None:
        done = subprocess.run(
            [sys.executable, '-S', '-m', 'tests.bench.preflight', '--help'],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': ''},
            capture_output=True,
            text=True,
        )
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn('--scenario', done.stdout)

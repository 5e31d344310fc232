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

"""Tests of tempest that run in an environment of their own, one by one."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import json
import os
import pathlib
import subprocess

from tests.lab import steps
from tests.tempest import configuration

_RUN_TESTS = pathlib.Path(__file__).with_name('run_tests.py')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a test ended.

    :param test: its full name; ``setUpClass (...)`` for all of a class.
    :param result: ``passed``, ``failed`` or ``skipped``.
    :param why: what failed, or the reason of a skip.
    :param seconds: how long it took, without the set-up of its class.
    """

    test: str
    result: str
    why: str
    seconds: float

    @property
    def name(self) -> str:
        """The class and the test, or the class alone, without the module."""
        if self.test.endswith(')'):
            return self.test.rstrip(')').rpartition('.')[2]
        return '.'.join(self.test.split('.')[-2:])


def run(python: str, modules: Sequence[str]) -> Iterator[Outcome]:
    """Run the tests of some modules.

    A test waits for the next outcome to be asked for before its class deletes
    its servers.

    :param python: of the environment that has tempest.
    :param modules: their names.
    :returns: the outcome of each test, as soon as it has ended.
    :raises LabError: tempest itself has failed.
    """
    with (
        configuration.log().open('ab') as errors,
        subprocess.Popen(
            [python, '-P', str(_RUN_TESTS), *modules],
            env={**os.environ, **configuration.environment()},
            cwd=configuration.folder(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        for line in process.stdout:
            yield Outcome(**json.loads(line))
            process.stdin.write('\n')
            process.stdin.flush()
    if process.returncode:
        why = f'exit code {process.returncode}: see {configuration.log()}'
        raise steps.LabError('run the tests of tempest', why)

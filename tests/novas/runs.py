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

"""A run of tests in the environment of a release, and its results."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import io
import os
import pathlib
import subprocess
import tempfile
import time

import subunit
import testtools

from tests.novas import releases

ROOT = pathlib.Path(__file__).parents[2]

# Of what stestr shows of failures; all of it is in the log.
SHOWN_LINES = 80

# The longest run takes 19 minutes on idle cores. A test that hangs is
# interrupted as by Ctrl-C, so that it is named, and shown where it hangs.
LONGEST_SECONDS = 3600
INTERRUPT = ('timeout', '--verbose', '--signal=INT', '--kill-after=60')

_PASSED = {'success', 'xfail'}
_SKIPPED = {'skip'}


@dataclasses.dataclass(frozen=True)
class Tally:
    """How many tests passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: 'Tally') -> 'Tally':
        return Tally(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
        )

    def __str__(self) -> str:
        text = f'{self.passed} passed, {self.failed} failed'
        return f'{text}, {self.skipped} skipped' if self.skipped else text


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run came to.

    :ivar statuses: of each test, by its id, as subunit names it
    :ivar exit_code: of the runner
    :ivar seconds: it took
    """

    statuses: Mapping[str, str]
    exit_code: int
    seconds: float

    @property
    def passed(self) -> set[str]:
        """The tests that passed."""
        return {
            test for test, status in self.statuses.items() if status in _PASSED
        }

    @property
    def tally(self) -> Tally:
        """Count the tests; a run that ended early has failed, too."""
        passed = len(self.passed)
        skipped = sum(one in _SKIPPED for one in self.statuses.values())
        failed = len(self.statuses) - passed - skipped
        return Tally(passed, max(failed, int(self.ended_early)), skipped)

    @property
    def ended_early(self) -> bool:
        """Whether it failed, and no test tells why."""
        failed = set(self.statuses.values()) - _PASSED - _SKIPPED
        return not self.statuses or (self.exit_code != 0 and not failed)


def run(
    environment: releases.Environment,
    folder: str,
    log: pathlib.Path,
    variables: Mapping[str, str],
    only: Iterable[str] = (),
) -> Run:
    """Run the tests of a folder.

    :param environment: the release of Nova to run them with
    :param folder: the tests, below ``tests``
    :param log: where to write all that is said
    :param variables: for the processes that run them
    :param only: the ids of the tests to run, all of them without any
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place, log.open('w') as out:
        stestr = [
            str(environment.venv / 'bin/stestr'),
            '--repo-url',
            place,
        ]
        surroundings = {
            **os.environ,
            **variables,
            'TEST_SUITE': folder,
            'PATH': f'{environment.venv / "bin"}:{os.environ["PATH"]}',
            # What these releases say of themselves at each start.
            'PYTHONWARNINGS': 'ignore',
        }
        command = [*INTERRUPT, str(LONGEST_SECONDS), *stestr, 'run']
        command += ['--suppress-attachments', '--concurrency=2']
        if only:
            names = pathlib.Path(place, 'only')
            names.write_text(''.join(f'{test}\n' for test in only))
            command += ['--load-list', str(names)]
        exit_code = subprocess.run(
            command, cwd=ROOT, env=surroundings, stdout=out, stderr=out
        ).returncode
        if exit_code:
            subprocess.run(
                [*stestr, 'last', '--suppress-attachments'],
                cwd=ROOT,
                env=surroundings,
                stdout=out,
                stderr=out,
            )
        stream = subprocess.run(
            [*stestr, 'last', '--subunit'],
            cwd=ROOT,
            env=surroundings,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ).stdout
        return Run(
            read_statuses(stream), exit_code, time.monotonic() - started
        )


def read_statuses(stream: bytes) -> dict[str, str]:
    """Read what became of each test.

    :param stream: subunit, version 2
    :returns: the status of each test, by its id; of one that did not end,
              ``inprogress``
    """
    statuses = {}

    def take(test: dict[str, str]) -> None:
        statuses[test['id']] = test['status']

    result = testtools.StreamToDict(take)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(
        io.BytesIO(stream), non_subunit_name='stdout'
    ).run(result)
    result.stopTestRun()
    return statuses


def differences(ours: Run, stock: Run) -> list[str]:
    """Find the tests that pass with Nova's driver and not with ours.

    :param ours: a run with our driver
    :param stock: a run, with Nova's driver, of the tests that did not pass
    :returns: their ids, and those of tests that Nova's driver was not seen
              to fail
    """
    return sorted(
        test
        for test in set(ours.statuses) - ours.passed
        if test in stock.passed or test not in stock.statuses
    )


def show_end(log: pathlib.Path) -> None:
    """Print the end of a log, where what failed stands."""
    lines = log.read_text(errors='replace').splitlines()[-SHOWN_LINES:]
    print(f'\n----- the end of {log}')
    print('\n'.join(line[:500] for line in lines))

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

"""Run tests of tempest, and wait after each: run_tests.py MODULE...

Run by the Python of the environment that has tempest. Each test is a line of
JSON on standard output as soon as it has ended (the fields of ``Outcome`` in
``session.py``). The next one begins when a line has come from standard input:
until then the servers of the test are there, for tempest deletes them at the
end of a class.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
import unittest

import testtools


class Reporter(testtools.TestResult):
    """Tells of each test, and waits."""

    def __init__(self, out: Any, answers: Any) -> None:
        """Initialize the reporter.

        :param out: where it tells
        :param answers: where it waits for a line
        """
        super().__init__()
        self._out = out
        self._answers = answers
        self._began = time.monotonic()

    def startTest(self, test: Any) -> None:
        """See :class:`unittest.TestResult`."""
        super().startTest(test)
        self._began = time.monotonic()

    def addSuccess(self, test: Any, details: Any = None) -> None:
        """See :class:`testtools.TestResult`."""
        super().addSuccess(test, details)
        self._tell(test, 'passed', '')

    def addError(
        self, test: Any, err: Any = None, details: Any = None
    ) -> None:
        """See :class:`testtools.TestResult`."""
        super().addError(test, err, details)
        self._tell(test, 'failed', self.errors[-1][1])

    def addFailure(
        self, test: Any, err: Any = None, details: Any = None
    ) -> None:
        """See :class:`testtools.TestResult`."""
        super().addFailure(test, err, details)
        self._tell(test, 'failed', self.failures[-1][1])

    def addSkip(
        self, test: Any, reason: str | None = None, details: Any = None
    ) -> None:
        """See :class:`testtools.TestResult`."""
        super().addSkip(test, reason, details)
        if reason is None:
            reason = details['reason'].as_text()
        self._tell(test, 'skipped', reason)

    def _tell(self, test: Any, result: str, why: str) -> None:
        outcome = {
            'test': test.id().partition('[')[0],
            'result': result,
            'why': why,
            'seconds': time.monotonic() - self._began,
        }
        print(json.dumps(outcome), file=self._out, flush=True)
        self._answers.readline()


def main(modules: list[str]) -> None:
    """Run the tests of some modules.

    :param modules: their names
    """
    # What tests print must not be among the outcomes.
    out, sys.stdout = sys.stdout, sys.stderr
    suite = unittest.defaultTestLoader.loadTestsFromNames(modules)
    suite.run(Reporter(out, sys.stdin))


if __name__ == '__main__':
    main(sys.argv[1:])

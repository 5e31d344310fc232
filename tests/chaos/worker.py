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

"""One of several clouds side by side; see :mod:`tests.chaos.side_by_side`.

``python -m tests.chaos.worker plugin|no-plugin`` reads the cells to run, one a
line, and writes what was found in each, a line of JSON.
"""

from collections.abc import Iterator
import os
import signal
import sys
from typing import TextIO

from tests.chaos import phases
from tests.chaos import series
from tests.chaos import store
from tests.chaos.matrix import Cell
from tests.chaos.record import Findings


def main() -> int:
    """Run cells until there are no more.

    :returns: 0; 130 if it was interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Nothing else may print there.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        with series.stage(plugin=sys.argv[1] == 'plugin') as stage:
            _answer(answers, Findings({}))  # The cloud is up.
            for found in series.run(_cells(), stage):
                _answer(answers, found)
    except KeyboardInterrupt:
        return 130
    return 0


def _answer(answers: TextIO, found: Findings) -> None:
    answers.write(store.to_json(found))
    answers.flush()


def _cells() -> Iterator[Cell]:
    for line in sys.stdin:
        phase, fault = line.split()
        yield Cell(phases.BY_WORD[phase], fault)


if __name__ == '__main__':
    sys.exit(main())

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

"""Print the tables of a benchmark again, as reStructuredText.

``python -m tests.bench.report FILE.json``
"""

import pathlib
import sys

from tests.bench import results
from tests.bench import tables
from tests.bench.results import Bench


def write(bench: Bench) -> str:
    """Write what was measured as a part of the manual."""
    shown = [
        tables.surroundings(bench),
        tables.situations(bench),
        tables.judged(bench),
        *tables.measured(bench),
    ]
    return '\n'.join(map(tables.for_manual, shown))


def main(words: list[str]) -> int:
    """Print what a file has.

    :returns: 0; 2 where there is no such file, or it has something else.
    """
    if len(words) != 1 or words[0].startswith('-'):
        print('usage: python -m tests.bench.report FILE.json', file=sys.stderr)
        return 2
    try:
        bench = results.from_json(pathlib.Path(words[0]).read_text())
    except (OSError, ValueError) as error:
        print(f'{words[0]}: {error}', file=sys.stderr)
        return 2
    print(write(bench), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

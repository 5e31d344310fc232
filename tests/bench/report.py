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

"""The tables and the picture of a benchmark.

``python -m tests.bench.report FILE [--rst OUT] [--svg OUT]``

All figures are printed; the manual gets those that a user would choose by.
"""

import argparse
from collections.abc import Sequence
import functools
import sys

from tests.bench import arguments
from tests.bench import outputs
from tests.bench import picture
from tests.bench import results
from tests.bench import tables
from tests.bench.results import Bench
from tests.lab import arguments as lab_arguments
from tests.lab import errors


def write(bench: Bench) -> str:
    """Write all that was measured."""
    shown = [
        tables.surroundings(bench),
        tables.situations(bench),
        tables.judged(bench),
        tables.needed(bench),
        *tables.measured(bench),
        *tables.unable(bench),
    ]
    return '\n'.join(map(tables.for_manual, shown))


def write_for_manual(bench: Bench) -> str:
    """Write a part of the manual: what a user would choose by."""
    shown = [
        tables.situations(bench),
        *tables.ways(bench),
        *tables.unable(bench),
        tables.judged(bench),
        tables.surroundings(bench),
    ]
    return '\n'.join(map(tables.for_manual, shown))


def main(words: Sequence[str]) -> int:
    """Write what a file has.

    :returns: 0; 2 where there is no such file, or it has something else.
    """
    try:
        request = parse(words)
    except errors.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    outputs.put(
        request,
        (write_for_manual if request.rst else write)(request.bench),
        functools.partial(picture.draw_for_manual, request.bench),
    )
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of the command, and the file they name.

    :raises Refused: an argument is wrong, or the file is.
    """
    parser = lab_arguments.Parser(prog='python -m tests.bench.report')
    parser.add_argument(
        'bench',
        metavar='FILE',
        type=arguments.content(results.from_json),
        help="the benchmark's figures (bench.json)",
    )
    outputs.add(parser)
    return parser.parse_args(words)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

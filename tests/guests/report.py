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

"""The tables and the picture of what was measured, for the manual.

``python -m tests.guests.report FILE [--rst OUT] [--svg OUT]``
"""

import argparse
from collections.abc import Sequence
import functools
import sys

from tests.bench import arguments as bench_arguments
from tests.bench import outputs
from tests.bench import tables as bench_tables
from tests.guests import picture
from tests.guests import results
from tests.guests import tables
from tests.guests.results import Guests
from tests.lab import arguments as lab_arguments
from tests.lab import errors


def write(guests: Guests) -> str:
    """Write what was measured as a part of the manual."""
    shown = [
        tables.described(guests),
        tables.migrations(guests),
        tables.work(guests),
        *tables.unable(guests),
        tables.judged(guests),
        tables.surroundings(guests),
    ]
    return '\n'.join(map(bench_tables.for_manual, shown))


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
        write(request.guests),
        functools.partial(picture.draw, request.guests),
    )
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of the command, and the file they name.

    :raises Refused: an argument is wrong, or the file is.
    """
    parser = lab_arguments.Parser(prog='python -m tests.guests.report')
    parser.add_argument(
        'guests',
        metavar='FILE',
        type=bench_arguments.content(results.from_json),
        help='the figures (guests.json)',
    )
    outputs.add(parser)
    return parser.parse_args(words)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

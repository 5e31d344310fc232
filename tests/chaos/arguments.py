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


"""What the command of the faults accepts, by the standard library."""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import pathlib

from tests.chaos import kinds
from tests.chaos import matrix
from tests.chaos import phases
from tests.lab import arguments as lab_arguments
from tests.lab import errors

#: The guest's memory: enough for each phase to last for some looks.
MEMORY_MIB = 768

_PROGRAM = 'tools/chaos.sh'
_MOST_MINUTES = 7 * 24 * 60
_MOST_MIGRATIONS = 100_000
_MOST_SEED = 2**32 - 1
_MOST_CLOUDS = 8


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a whole number between {least} and {most}"
        )

    return read


def _file(text: str) -> pathlib.Path:
    """Read the name of a file that can be written."""
    file = pathlib.Path(text).absolute()
    if file.is_dir() or not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f'{text} cannot be written')
    return file


def add(parser: argparse.ArgumentParser) -> None:
    """Add what the command accepts."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        '--matrix',
        action='store_true',
        help='every fault at every phase, each on its own',
    )
    what.add_argument(
        '--seed',
        metavar='N',
        type=_whole(0, _MOST_SEED),
        help='a random walk through phases and faults: the same one for the'
        ' same number',
    )
    what.add_argument(
        '--soak',
        metavar='N',
        type=_whole(1, _MOST_MIGRATIONS),
        help='so many migrations of one guest back and forth, without faults',
    )
    parser.add_argument(
        '--minutes',
        metavar='M',
        type=_whole(1, _MOST_MINUTES),
        help='begin nothing new after so long (needed with --seed)',
    )
    parser.add_argument(
        '--plain',
        action='store_true',
        help='with --matrix: without the plugin, to tell how Nova by itself'
        ' ends a migration that a fault meets; kept in FILE beside the rest',
    )
    parser.add_argument(
        '--clouds',
        metavar='N',
        type=_whole(1, _MOST_CLOUDS),
        default=1,
        help='with --matrix: on so many clouds side by side; two processors'
        ' carry three',
    )
    parser.add_argument(
        '--phase',
        metavar='PHASE',
        nargs='+',
        choices=tuple(phases.BY_WORD),
        help=f'these phases only: {", ".join(phases.BY_WORD)}',
    )
    parser.add_argument(
        '--fault',
        metavar='FAULT',
        nargs='+',
        choices=tuple(kinds.KINDS),
        help=f'these faults only: {", ".join(kinds.KINDS)}',
    )
    parser.add_argument(
        '--json',
        metavar='FILE',
        type=_file,
        help='write what was found to FILE; cells that are in it already and'
        ' are not run again stay',
    )
    parser.add_argument(
        '--rest',
        action='store_true',
        help='with --matrix: what is not in FILE yet, or came to nothing',
    )
    parser.add_argument(
        '--rst',
        metavar='FILE',
        type=_file,
        help='write the table of the matrix to FILE, for the manual',
    )


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of a command.

    :raises Refused: an argument is wrong, or nothing is left to run.
    """
    parser = lab_arguments.Parser(prog=_PROGRAM)
    add(parser)
    request = parser.parse_args(words)
    if request.seed is not None and request.minutes is None:
        parser.error('--seed needs --minutes')
    if request.soak and (request.phase or request.fault):
        parser.error('--soak has neither phases nor faults')
    if request.rst and not request.matrix:
        parser.error('--rst is for --matrix')
    if request.plain and not request.matrix:
        parser.error('--plain is for --matrix')
    if request.clouds > 1 and not request.matrix:
        parser.error('--clouds is for --matrix')
    if request.rest and not (request.matrix and request.json):
        parser.error('--rest is for --matrix with --json')
    request.cells = matrix.cells(
        request.phase and [phases.BY_WORD[word] for word in request.phase],
        request.fault,
    )
    if request.plain:
        request.cells = matrix.plain_cells(request.cells)
    if not request.cells:
        raise errors.Refused(
            f'{_PROGRAM}: none of that can be run; see left_out.toml for why'
        )
    return request

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


"""The arguments of the command of the faults, by the standard library."""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import pathlib

from tests.chaos import kinds
from tests.chaos import matrix
from tests.chaos import phases
from tests.lab import arguments as lab_arguments
from tests.lab import errors

#: The guest's memory: enough for each phase to be observed.
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
    """Return a file that can be written."""
    file = pathlib.Path(text).absolute()
    if file.is_dir() or not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f'{text} cannot be written')
    return file


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        '--matrix',
        action='store_true',
        help='inject every fault at every phase, each on its own',
    )
    what.add_argument(
        '--seed',
        metavar='N',
        type=_whole(0, _MOST_SEED),
        help='walk through phases and faults at random, the same way for the'
        ' same number',
    )
    what.add_argument(
        '--soak',
        metavar='N',
        type=_whole(1, _MOST_MIGRATIONS),
        help='migrate one guest N times back and forth, without faults',
    )
    parser.add_argument(
        '--minutes',
        metavar='M',
        type=_whole(1, _MOST_MINUTES),
        help='start no step after M minutes (needed with --seed)',
    )
    parser.add_argument(
        '--no-plugin',
        dest='plugin',
        action='store_false',
        help='with --matrix: run without the plugin, to see how Nova itself'
        ' ends such migrations; FILE keeps both',
    )
    parser.add_argument(
        '--clouds',
        metavar='N',
        type=_whole(1, _MOST_CLOUDS),
        default=1,
        help='with --matrix: on N clouds side by side; two processors can run'
        ' three (default: 1)',
    )
    parser.add_argument(
        '--phase',
        metavar='PHASE',
        nargs='+',
        choices=tuple(phases.BY_WORD),
        help=f'only these phases: {", ".join(phases.BY_WORD)}',
    )
    parser.add_argument(
        '--fault',
        metavar='FAULT',
        nargs='+',
        choices=tuple(kinds.KINDS),
        help=f'only these faults: {", ".join(kinds.KINDS)}',
    )
    parser.add_argument(
        '--json',
        metavar='FILE',
        type=_file,
        help='write the results to FILE; cells that are in it already stay,'
        ' unless they are run again',
    )
    parser.add_argument(
        '--rest',
        action='store_true',
        help='with --matrix and --json: only cells that are not in FILE, or'
        ' were inconclusive',
    )
    parser.add_argument(
        '--rst',
        metavar='FILE',
        type=_file,
        help='with --matrix: write the table of the manual to FILE',
    )


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line.

    :raises Refused: an argument is wrong, or there is nothing to run.
    """
    parser = lab_arguments.Parser(prog=_PROGRAM)
    add(parser)
    request = parser.parse_args(words)
    if request.seed is not None and request.minutes is None:
        parser.error('--seed needs --minutes')
    if request.soak and (request.phase or request.fault):
        parser.error('--soak has neither phases nor faults')
    for option, is_used in (
        ('--rst', request.rst),
        ('--no-plugin', not request.plugin),
        ('--clouds', request.clouds > 1),
        ('--rest', request.rest),
    ):
        if is_used and not request.matrix:
            parser.error(f'{option} needs --matrix')
    if request.rest and not request.json:
        parser.error('--rest needs --json')
    request.cells = matrix.cells(
        request.phase and [phases.BY_WORD[word] for word in request.phase],
        request.fault,
    )
    if not request.plugin:
        request.cells = matrix.cells_without_plugin(request.cells)
    if not request.cells:
        raise errors.Refused(
            f'{_PROGRAM}: no such cell is run; left_out.toml says why'
        )
    return request

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

"""What the benchmark's command accepts, by the standard library."""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
from typing import TypeVar

from tests.bench import matrix
from tests.bench import scenarios
from tests.lab import arguments as lab_arguments
from tests.lab import errors

#: The folder of the pictures and figures unless another is asked for.
OUT = 'freemem-bench'
#: The guest's memory: the limits are about a guest of this size.
MEMORY_MIB = 4096

_T = TypeVar('_T')

_REPORTING = {'on': True, 'off': False}
_MOST_ROUNDS = 100


def rounds_of_text(text: str) -> int:
    """Read how often something is measured."""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_ROUNDS:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"'{text}' is not a whole number between 1 and {_MOST_ROUNDS}"
    )


def file(text: str) -> pathlib.Path:
    """Read the name of a file that can be written."""
    file = pathlib.Path(text).absolute()
    if file.is_dir() or not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f'{text} cannot be written')
    return file


def content(read: Callable[[str], _T]) -> Callable[[str], _T]:
    """Read the name of a file, and what is in it.

    :param read: makes something of its text; raises ValueError if it cannot.
    """

    def read_file(name: str) -> _T:
        try:
            return read(pathlib.Path(name).read_text())
        except (OSError, ValueError) as error:
            raise argparse.ArgumentTypeError(f'{name}: {error}') from error

    return read_file


def _folder(text: str) -> pathlib.Path:
    """Read the name of a folder that is there or can be made."""
    folder = pathlib.Path(text).absolute()
    there = folder if folder.exists() else folder.parent
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f'{text} cannot be made')
    return folder


def add(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark accepts."""
    parser.add_argument(
        '--quick',
        action='store_true',
        help='a few situations that most limits are about, one round: less'
        ' than ten minutes on two cores',
    )
    parser.add_argument(
        '--bars',
        action='store_true',
        help='only what the limits of this project are about: an hour and a'
        ' half',
    )
    parser.add_argument(
        '--rounds',
        metavar='N',
        type=rounds_of_text,
        help='how often each method is measured in each situation'
        f' (default: {matrix.ROUNDS}, {matrix.QUICK_ROUNDS} with --quick)',
    )
    for option, choices, what in (
        ('--scenario', tuple(scenarios.SCENARIOS), 'only these scenarios'),
        (
            '--method',
            matrix.METHODS,
            'only these methods, and plain (default:'
            f' {", ".join(matrix.USUAL)}; with --quick and --bars, what they'
            ' compare)',
        ),
        (
            '--reporting',
            tuple(_REPORTING),
            'only guests with free page reporting on, or off',
        ),
    ):
        parser.add_argument(option, nargs='+', choices=choices, help=what)
    parser.add_argument(
        '--link',
        metavar='MBIT|none',
        nargs='+',
        dest='bandwidths_mbps',
        type=lab_arguments.migration_bandwidth_mbps,
        help='only at these speeds of the migration link, 10^6 bits a second;'
        ' none: not limited (default: 1000 and none)',
    )
    parser.add_argument(
        '--json',
        metavar='FILE',
        type=file,
        help='write the figures to FILE (default: bench.json in DIR)',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=_folder,
        default=OUT,
        help=f'write figures and pictures to DIR (default: {OUT})',
    )


def chosen(
    request: argparse.Namespace,
) -> Mapping[matrix.Cell, Sequence[str]]:
    """Choose what is to be measured.

    :param request: as :func:`add` has it parsed.
    :returns: the methods to measure, by cell.
    :raises Refused: nothing is left to measure.
    """
    scenario = request.scenario or scenarios.SCENARIOS
    reporting = [_REPORTING[word] for word in request.reporting or _REPORTING]
    bandwidths = request.bandwidths_mbps
    every: Mapping[matrix.Cell, Sequence[str]]
    if request.quick:
        every = matrix.QUICK
    elif request.bars:
        every = matrix.BARS
    else:
        every = dict.fromkeys(
            matrix.cells(
                scenario, reporting, bandwidths or matrix.BANDWIDTHS_MBPS
            ),
            matrix.METHODS if request.method else matrix.USUAL,
        )
    found = {
        cell: _among(methods, request.method)
        for cell, methods in every.items()
        if cell.scenario in scenario
        and cell.reporting in reporting
        and (not bandwidths or cell.migration_bandwidth_mbps in bandwidths)
        and (not request.method or {*methods} & {*request.method})
    }
    if not found:
        by = ' by --quick' * request.quick or ' by --bars' * request.bars
        raise errors.Refused(f'tools/bench.sh: none of that is measured{by}')
    return found


def _among(
    methods: Sequence[str], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """Choose methods, in their order; plain is always among them."""
    return tuple(
        name
        for name in methods
        if not wanted or name == matrix.PLAIN or name in wanted
    )


def rounds(request: argparse.Namespace) -> int:
    """Return how often each method is measured."""
    if request.rounds:
        return int(request.rounds)
    return matrix.QUICK_ROUNDS if request.quick else matrix.ROUNDS


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of a command.

    :raises Refused: an argument is wrong, or nothing is left to measure.
    """
    parser = lab_arguments.Parser(prog='tools/bench.sh')
    add(parser)
    request = parser.parse_args(words)
    request.json = request.json or request.out / 'bench.json'
    request.cells = chosen(request)
    request.rounds = rounds(request)
    return request

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

"""Fit the simulation's model to a benchmark, and show how far it is off.

``python -m tests.bench.fit FILE [--json OUT] [--rst OUT]``
"""

import argparse
from collections.abc import Sequence
import dataclasses
import pathlib
import statistics
import sys

from rich import console as rich_console

from tests.bench import arguments
from tests.bench import capture as captures
from tests.bench import fitting
from tests.bench import results
from tests.bench import tables
from tests.bench.capture import Capture
from tests.bench.figures import Spread
from tests.bench.fitting import Held
from tests.lab import arguments as lab_arguments
from tests.lab import errors
from tests.simulation.model import Model

_PROGRAM = 'python -m tests.bench.fit'
_WIDTH = 150
_MISSING = '-'

# What each figure is, for people, and what makes its unit of the model's.
_FIGURES = {
    'before_job_seconds': ('until the first byte is sent', 's', 1),
    'carried_share': ("a transfer's share of the link", '%', 100),
    'inflate_kib_per_second': ('taken of free memory', 'MiB/s', 1 / 1024),
    'reclaim_kib_per_second': ('taken of page cache', 'MiB/s', 1 / 1024),
    'look_kib_per_second': (
        'looked through again of what was taken during the transfer',
        'MiB/s',
        1 / 1024,
    ),
    'busy_balloon_share': ("the balloon's pace during a transfer", '%', 100),
    'busy_link_share': ("the transfer's while a balloon moves", '%', 100),
    'far_end_share': (
        'taken where the transfer has not come to yet; the rest anywhere',
        '%',
        100,
    ),
    'deflate_kib_per_second': ('given back', 'MiB/s', 1 / 1024),
}


def main() -> int:
    """Fit what the command line says.

    :returns: 0; 2 where the request was refused and nothing was written.
    """
    try:
        request = parse(sys.argv[1:])
    except errors.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    measured = request.capture
    fitted = fitting.fit(measured.cases, Model())
    capture = dataclasses.replace(measured, fitted=fitted)
    held = fitting.hold(capture.cases, capture.model)
    console = rich_console.Console(
        highlight=False, width=None if sys.stdout.isatty() else _WIDTH
    )
    for table in shown(capture, held):
        console.print(tables.for_terminal(table))
    console.print(summary(held))
    if request.json:
        request.json.write_text(captures.to_json(capture))
    if request.rst:
        request.rst.write_text(for_manual(capture, held))
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of the command, and the file they name.

    :raises Refused: an argument is wrong, or the file is.
    """
    parser = lab_arguments.Parser(prog=_PROGRAM)
    parser.add_argument(
        'capture',
        metavar='FILE',
        type=_capture,
        help="the benchmark's figures (bench.json), or what --json wrote",
    )
    parser.add_argument(
        '--json',
        metavar='OUT',
        type=arguments.file,
        help='where the medians and the fitted figures go',
    )
    parser.add_argument(
        '--rst',
        metavar='OUT',
        type=arguments.file,
        help="where the manual's tables go",
    )
    return parser.parse_args(words)


def _capture(name: str) -> Capture:
    try:
        text = pathlib.Path(name).read_text()
        if captures.is_capture(text):
            return captures.from_json(text)
        return captures.of_bench(results.from_json(text))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f'{name}: {error}') from error


def shown(capture: Capture, held: Sequence[Held]) -> list[tables.Table]:
    """Show the fitted figures, and what is simulated with them."""
    return [_figures(capture), _errors(held)]


def for_manual(capture: Capture, held: Sequence[Held]) -> str:
    """Write all of it as reStructuredText."""
    facts = ', '.join(
        f'{name} {fact}' for name, fact in capture.machine.items()
    )
    return '\n'.join(
        (
            f'.. Written by {_PROGRAM}: do not edit.',
            '',
            f'Measured on {capture.started[:10]}: {facts}.',
            '',
            summary(held),
            '',
            *(tables.for_manual(table) for table in shown(capture, held)),
        )
    )


def summary(held: Sequence[Held]) -> str:
    """Say in one line how far the simulation is off."""
    seconds, megabytes = (
        [abs(one.seconds_error) for one in held],
        [abs(one.megabytes_error) for one in held],
    )
    return (
        f'{len(held)} cases; the seconds are off by'
        f' {statistics.median(seconds):.1%} (median) and'
        f' {max(seconds):.1%} (worst), what is sent by'
        f' {statistics.median(megabytes):.1%} and {max(megabytes):.1%}.'
    )


def _figures(capture: Capture) -> tables.Table:
    rows = []
    for name, value in capture.fitted.items():
        what, unit, factor = _FIGURES[name]
        digits = 2 if unit == 's' else 0
        rows.append((name, what, f'{value * factor:,.{digits}f} {unit}'))
    return tables.Table(
        'The fitted figures', ('figure', 'what', 'value'), tuple(rows), words=2
    )


def _errors(held: Sequence[Held]) -> tables.Table:
    rows, guest = [], ''
    for one in held:
        case, replay = one.case, one.replay
        before, guest = guest, f'{case.guest}, {case.link}'
        rows.append(
            (
                '' if guest == before else guest,
                case.method,
                str(case.seconds.count),
                *_compared(case.seconds, replay.seconds, '.1f'),
                *_compared(case.megabytes, replay.megabytes, ',.0f'),
                *_compared(case.back_seconds, replay.back_seconds, '.1f'),
            )
        )
    columns = ('simulated', 'error')
    return tables.Table(
        'Measured (median, least and most) and simulated',
        (
            'guest',
            'method',
            'runs',
            *('seconds', *columns),
            *('MB sent', *columns),
            *('memory back, s', *columns),
        ),
        tuple(rows),
        words=2,
    )


def _compared(
    measured: Spread | None, simulated: float | None, form: str
) -> tuple[str, str, str]:
    if measured is None or simulated is None:
        return (_MISSING,) * 3
    return (
        f'{measured.median:{form}}'
        f' ({measured.least:{form}}-{measured.most:{form}})',
        format(simulated, form),
        f'{simulated / measured.median - 1:+.0%}',
    )


if __name__ == '__main__':
    sys.exit(main())

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
import statistics
import sys

from rich import console as rich_console

from tests.bench import arguments
from tests.bench import capture as captures
from tests.bench import fitting
from tests.bench import tables
from tests.bench.capture import Capture
from tests.bench.figures import Spread
from tests.bench.fitting import Held
from tests.lab import arguments as lab_arguments
from tests.lab import errors
from tests.simulation.model import Model

_PROGRAM = 'python -m tests.bench.fit'

# What each parameter is, for people.
_PARAMETERS = {
    'before_job_seconds': 'until the first byte is sent',
    'bandwidth_share': 'what a transfer gets of the bandwidth',
    'inflate_kib_per_second': 'free memory that a guest releases',
    'reclaim_kib_per_second': 'page cache that it releases',
    'look_kib_per_second': 'released memory that QEMU goes through again',
    'busy_balloon_share': 'release rate during a transfer, of that before it',
    'busy_bandwidth_share': 'bandwidth used during a release, of that without',
    'far_end_share': 'released ahead of the transfer; the rest anywhere',
    'deflate_kib_per_second': 'memory that is restored',
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
    console = rich_console.Console(highlight=False, soft_wrap=True)
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
        type=arguments.content(captures.read),
        help="the benchmark's figures (bench.json), or what --json wrote",
    )
    parser.add_argument(
        '--json',
        metavar='OUT',
        type=arguments.file,
        help='write the medians and the fitted parameters to OUT',
    )
    parser.add_argument(
        '--rst',
        metavar='OUT',
        type=arguments.file,
        help="write the manual's tables to OUT",
    )
    return parser.parse_args(words)


def shown(capture: Capture, held: Sequence[Held]) -> list[tables.Table]:
    """Show the fitted parameters, and what is simulated with them."""
    return [_parameters(capture), _errors(held)]


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


def _parameters(capture: Capture) -> tables.Table:
    return tables.Table(
        'The fitted parameters',
        ('parameter', 'what', 'value'),
        tuple(
            (name, _PARAMETERS[name], _in_unit(name, value))
            for name, value in capture.fitted.items()
        ),
    )


def _in_unit(name: str, value: float) -> str:
    """Write a parameter in the unit that its name ends in."""
    if name.endswith('_share'):
        return f'{value:.0%}'
    if name.endswith('_kib_per_second'):
        return f'{value / 1024:,.0f} MiB/s'
    return f'{value:.2f} s'


def _errors(held: Sequence[Held]) -> tables.Table:
    guests = tables.once(
        f'{one.case.guest}, {one.case.bandwidth}' for one in held
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
            *('memory restored, s', *columns),
        ),
        tuple(
            (
                guest,
                one.case.method,
                str(one.case.seconds.count),
                *_compared(one.case.seconds, one.replay.seconds, '.1f'),
                *_compared(one.case.megabytes, one.replay.megabytes, ',.0f'),
                *_compared(
                    one.case.back_seconds, one.replay.back_seconds, '.1f'
                ),
            )
            for guest, one in zip(guests, held, strict=True)
        ),
    )


def _compared(
    measured: Spread | None, simulated: float | None, form: str
) -> tuple[str, str, str]:
    if measured is None or simulated is None:
        return (tables.MISSING,) * 3
    return (
        tables.say(measured, form),
        format(simulated, form),
        f'{simulated / measured.median - 1:+.0%}',
    )


if __name__ == '__main__':
    sys.exit(main())

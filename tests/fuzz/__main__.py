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


"""The command behind tools/fuzz.sh."""

import argparse
from collections.abc import Sequence
import dataclasses
import json
import pathlib
import sys

from rich import box
from rich import console
from rich import table

from tests.fuzz import run
from tests.fuzz import targets

HEADINGS = (
    'target',
    'executions',
    'seconds',
    'per s',
    'edges',
    'lines',
    'MiB',
    'findings',
)


def main() -> int:
    """Fuzz, or run one input again.

    :returns: 1 where there is a finding, else 0
    """
    arguments = _arguments()
    if arguments.replay:
        target = targets.load(arguments.targets[0])
        target.run(arguments.replay.read_bytes())
        print(f'{arguments.replay}: no finding')
        return 0
    place = arguments.place
    results = []
    for name in arguments.targets or targets.NAMES:
        print(f'{name}: {arguments.seconds} s', file=sys.stderr)
        results.append(run.fuzz(name, arguments.seconds, place))
    (place / 'results.json').write_text(
        json.dumps(
            [dataclasses.asdict(result) for result in results], indent=2
        )
        + '\n'
    )
    rows = [_row(result) for result in results]
    (place / 'table.rst').write_text(_manual(rows))
    console.Console(width=79).print(_table(rows))
    return _tell_findings(results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='tools/fuzz.sh',
        formatter_class=argparse.RawTextHelpFormatter,
        description='Fuzz what is read from guests, one target after the '
        'other.',
        epilog=f'targets: {", ".join(targets.NAMES)}',
    )
    parser.add_argument(
        'targets',
        nargs='*',
        metavar='target',
        help='what to fuzz; all of them by default',
    )
    parser.add_argument(
        '--seconds', type=int, default=60, help='how long, each (default: 60)'
    )
    parser.add_argument(
        '--replay',
        type=pathlib.Path,
        metavar='FILE',
        help='run a target on one input, and nothing else',
    )
    parser.add_argument(
        '--place', type=pathlib.Path, required=True, help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(targets.NAMES)
    if unknown:
        parser.error(f'no such target: {", ".join(sorted(unknown))}')
    if arguments.seconds < 1:
        parser.error('--seconds must be 1 or more')
    if arguments.replay and len(arguments.targets) != 1:
        parser.error('--replay needs one target')
    return arguments


def _row(one: run.Result) -> tuple[str, ...]:
    return (
        one.target,
        f'{one.executions:,}',
        f'{one.seconds:.0f}',
        f'{one.per_second:,.0f}',
        str(one.edges),
        '-' if one.lines_percent is None else f'{one.lines_percent:.0f}',
        str(one.rss_mib),
        '1' if one.finding else '0',
    )


def _table(rows: Sequence[Sequence[str]]) -> table.Table:
    shown = table.Table(box=box.SIMPLE_HEAD)
    for heading in HEADINGS:
        shown.add_column(
            heading,
            no_wrap=True,
            justify='left' if heading == 'target' else 'right',
        )
    for row in rows:
        shown.add_row(*row)
    return shown


def _manual(rows: Sequence[Sequence[str]]) -> str:
    """:returns: the same as a simple table of reStructuredText."""
    widths = [
        max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)
    ]
    rule = ' '.join('=' * width for width in widths)
    lines = [
        ' '.join(map(str.ljust, row, widths)).rstrip()
        for row in (HEADINGS, *rows)
    ]
    return '\n'.join([rule, lines[0], rule, *lines[1:], rule, ''])


def _tell_findings(results: Sequence[run.Result]) -> int:
    found = [one for one in results if one.finding]
    for one in found:
        print(
            f'{one.target}: {one.finding}\n'
            f'  again: tools/fuzz.sh --replay {one.finding} {one.target}'
        )
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())

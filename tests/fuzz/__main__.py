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

import tabulate

from tests.fuzz import run
from tests.fuzz import targets


def main() -> int:
    """Fuzz, or run one input again.

    :returns: 1 if there is a finding, else 0.
    """
    arguments = parse(sys.argv[1:])
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
    content = [dataclasses.asdict(result) for result in results]
    (place / 'results.json').write_text(json.dumps(content, indent=2) + '\n')
    (place / 'table.rst').write_text(table(results, 'rst') + '\n')
    print(table(results, 'simple'))
    return _show_findings(results)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line."""
    parser = argparse.ArgumentParser(
        prog='tools/fuzz.sh',
        description='Fuzz what is read from guests, one target after the '
        'other.',
        epilog=f'targets: {", ".join(targets.NAMES)}',
    )
    parser.add_argument(
        'targets',
        nargs='*',
        metavar='target',
        help='what to fuzz (default: every target)',
    )
    parser.add_argument(
        '--seconds',
        type=int,
        default=60,
        metavar='N',
        help='how long to fuzz each target (default: 60)',
    )
    parser.add_argument(
        '--replay',
        type=pathlib.Path,
        metavar='FILE',
        help='only run a target on the input in FILE',
    )
    parser.add_argument(
        '--place', type=pathlib.Path, required=True, help=argparse.SUPPRESS
    )
    arguments = parser.parse_args(words)
    unknown = set(arguments.targets) - set(targets.NAMES)
    if unknown:
        parser.error(f'no such target: {", ".join(sorted(unknown))}')
    if arguments.seconds < 1:
        parser.error('--seconds must be 1 or more')
    if arguments.replay and len(arguments.targets) != 1:
        parser.error('--replay needs one target')
    return arguments


def table(results: Sequence[run.Result], style: str) -> str:
    """Make a table of what was found.

    :param style: a format of tabulate.
    """
    rows = [
        {
            'target': one.target,
            'executions': f'{one.executions:,}',
            'seconds': f'{one.seconds:.0f}',
            'per s': f'{one.per_second:,.0f}',
            'edges': one.edges,
            'lines': None if one.finding else f'{one.lines_percent:.0f}',
            'MiB': one.rss_mib,
            'findings': int(one.finding is not None),
        }
        for one in results
    ]
    return tabulate.tabulate(
        rows,
        'keys',
        style,
        missingval='-',
        disable_numparse=True,
        colalign=('left', *['right'] * 7),
    )


def _show_findings(results: Sequence[run.Result]) -> int:
    found = [one for one in results if one.finding]
    for one in found:
        print(
            f'{one.target}: {one.finding}\n'
            f'  again: tools/fuzz.sh --replay {one.finding} {one.target}'
        )
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())

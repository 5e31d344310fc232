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

"""The command behind tools/novas.sh and tools/nova-suite.sh."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import sys

import tabulate

from tests.novas import releases
from tests.novas import runs

Row = dict[str, str | int]


def main() -> int:
    """Run tests in the environments that are named.

    :returns: 1 if a test failed, or differs; else 0.
    """
    arguments = parse(sys.argv[1:])
    arguments.place.mkdir(parents=True, exist_ok=True)
    code: int = arguments.run(arguments)
    return code


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line."""
    parser = argparse.ArgumentParser(prog='python -m tests.novas')
    commands = parser.add_subparsers(required=True)
    for name, run in (('functional', run_functional), ('suite', run_suite)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument('--place', type=pathlib.Path, required=True)
        command.add_argument(
            'environments', nargs='+', type=releases.Environment.parse
        )
        if run is run_suite:
            command.add_argument('--unit', action='store_true')
    return parser.parse_args(words)


def run_functional(arguments: argparse.Namespace) -> int:
    """Run the functional tests in each release, in each of its modes.

    :returns: 1 if a test failed, else 0.
    """
    rows = []
    total = runs.Tally()
    for environment in arguments.environments:
        for mode in releases.modes(environment.release):
            run = _run(
                arguments.place,
                environment,
                f'functional-{environment.release}-{mode.value}',
                'functional',
                mode.variables,
            )
            total += run.tally
            rows.append(
                {
                    'Nova': environment.version(),
                    'nova-compute on': mode.value,
                    **dataclasses.asdict(run.tally),
                }
            )
    _show(rows, arguments.place / 'functional.rst')
    print(total)
    return 1 if total.failed else 0


def run_suite(arguments: argparse.Namespace) -> int:
    """Run Nova's own tests, with our driver, in each release.

    What does not pass is run once more, with Nova's driver.

    :returns: 1 if a test passes with Nova's driver alone, else 0.
    """
    rows = []
    found = []
    for environment in arguments.environments:
        mode = releases.modes(environment.release)[0]
        for suite in ('unit',) if arguments.unit else ('unit', 'functional'):
            name = f'suite-{environment.release}-{suite}'
            variables = {**mode.variables, 'NOVA_FREEMEM_SUITE': suite}
            ours = _run(
                arguments.place,
                environment,
                name,
                'novas/nova',
                {**variables, 'NOVA_FREEMEM_DRIVER': 'freemem'},
            )
            differences = ['it ended early'] if ours.ended_early else []
            if others := set(ours.statuses) - ours.passed:
                stock = runs.run(
                    environment,
                    'novas/nova',
                    arguments.place / f'{name}-stock.log',
                    {**variables, 'NOVA_FREEMEM_DRIVER': 'stock'},
                    others,
                )
                differences += runs.differences(ours, stock)
            rows.append(
                {
                    'Nova': environment.version(),
                    'tests': suite,
                    **dataclasses.asdict(ours.tally),
                    'differences': len(differences),
                }
            )
            found += [f'{environment.version()}: {one}' for one in differences]
    _show(rows, arguments.place / 'suite.rst')
    for difference in found:
        print(difference)
    print(f'differences: {len(found)}')
    return 1 if found else 0


def _run(
    place: pathlib.Path,
    environment: releases.Environment,
    name: str,
    folder: str,
    variables: Mapping[str, str],
) -> runs.Run:
    log = place / f'{name}.log'
    print(f'{name} ...', file=sys.stderr)
    run = runs.run(environment, folder, log, variables)
    print(f'{name}: {run.tally}, {run.seconds:.0f} s', file=sys.stderr)
    if run.tally.failed:
        runs.show_end(log)
    return run


def _show(rows: Sequence[Row], rst: pathlib.Path) -> None:
    rst.write_text(tabulate.tabulate(rows, 'keys', 'rst') + '\n')
    print(tabulate.tabulate(rows, 'keys', 'simple'))


if __name__ == '__main__':
    sys.exit(main())

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


"""The command of the faults: the matrix, a random walk, a soak."""

import argparse
from collections.abc import Iterator
import dataclasses
import datetime
import itertools
import json
import signal
import sys
import time

from rich import console as rich_console

from tests.chaos import arguments
from tests.chaos import matrix
from tests.chaos import preflight
from tests.chaos import record
from tests.chaos import series
from tests.chaos import side_by_side
from tests.chaos import soak
from tests.chaos import tables
from tests.chaos import verdict
from tests.chaos import walk
from tests.chaos.matrix import Cell
from tests.chaos.record import Findings
from tests.chaos.stage import Stage
from tests.lab import preflight as lab_preflight
from tests.lab import steps

_CONSOLE = rich_console.Console(
    highlight=False, width=None if sys.stdout.isatty() else 200
)


def main() -> int:
    """Do what the command line says.

    :returns: 0; 1 where something was lost or a step failed; 2 where the
        request was refused and nothing has been changed.
    """
    words = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        lab_preflight.refuse(words, preflight.needed)
        return _work(arguments.parse(words))
    except steps.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except steps.LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # As a shell says it.


def _work(request: argparse.Namespace) -> int:
    if request.soak:
        return _soak(request)
    if request.seed is not None:
        return _walk(request)
    return _run_matrix(request)


def _say(sentence: str) -> None:
    _CONSOLE.print(sentence, soft_wrap=True, markup=False)


# --- the matrix


def _run_matrix(request: argparse.Namespace) -> int:
    findings, cells = _known(request), request.cells
    if request.rest:
        cells = findings.rest(cells, plugin=not request.plain)
    count = len(cells)
    seconds = matrix.estimate_seconds(count, request.clouds)
    takes = datetime.timedelta(minutes=round(seconds / 60))
    _say(f'{count} cells: about {str(takes)[:-3]} h.')
    for number, found in enumerate(_find(request, cells), 1):
        _say(f'{number}/{count}')
        _tell(found)
        findings = findings.plus_all(found)
        _write(request, findings)
    _CONSOLE.print(tables.for_terminal(tables.grid(findings)))
    for cell, wrong in tables.losses(findings):
        _say(f'LOST {cell}: {"; ".join(wrong)}')
    _say(tables.summary(findings))
    return 1 if tables.losses(findings) or findings.failures else 0


def _find(
    request: argparse.Namespace, cells: list[Cell]
) -> Iterator[Findings]:
    plugin = not request.plain
    if request.clouds > 1:
        clouds = side_by_side.Clouds(request.clouds, plugin)
        yield from clouds.run(cells)
        return
    with series.stage(plugin) as stage:
        yield from series.run(cells, stage)


def _known(request: argparse.Namespace) -> Findings:
    if request.json and request.json.exists():
        try:
            return record.from_json(request.json.read_text())
        except ValueError as error:
            raise steps.Refused(f'{request.json}: {error}') from error
    return Findings({})


def _write(request: argparse.Namespace, findings: Findings) -> None:
    if request.json:
        record.write(findings, request.json)
    if request.rst:
        request.rst.write_text(tables.for_manual(findings))


def _tell(findings: Findings) -> None:
    """Tell of a single cell."""
    for failure in findings.failures:
        _say(f'{failure.cell}: came to nothing: {failure.why}')
    for one in (*findings.records, *findings.plain):
        _tell_of_record(one)


def _tell_of_record(found: record.Record) -> None:
    judged = verdict.judge(found)
    nova = found.nova
    whole = found.whole_seconds
    _say(
        f'{found.cell}: {judged.word}, {judged.went}; hit'
        f' {"..".join(found.hit)} after {found.reached_seconds:.1f} s; healed'
        f' in {found.healed_seconds:.1f} s; whole'
        f' {"never" if whole is None else f"{whole:.1f} s"}; Nova:'
        f' {nova.status} {nova.task or ""} {nova.migration}'
        f' {dict(nova.allocations)}'
    )
    refused = [f'refused: {found.refused}'] if found.refused else []
    for line in (*refused, *judged.wrong, *found.told):
        _say(f'           {line}')


# --- the walk and the soak


def _walk(request: argparse.Namespace) -> int:
    with series.stage(plugin=True) as stage:
        return _walk_on(request, stage)


def _walk_on(request: argparse.Namespace, stage: Stage) -> int:
    until = time.monotonic() + request.minutes * 60
    _say(f'Seed {request.seed}, {request.minutes} minutes.')
    steps_of_seed = itertools.takewhile(
        lambda _cell: time.monotonic() < until,
        walk.steps(request.seed, request.cells),
    )
    findings = Findings({})
    number, lost = 0, []
    for number, found in enumerate(series.run(steps_of_seed, stage), 1):
        _say(f'step {number}')
        _tell(found)
        findings = findings.plus_all(found)
        _write(request, findings)
        lost += [
            f'step {number}: {cell}' for cell, _wrong in tables.losses(found)
        ]
        lost += [f'step {number}: {one.cell}' for one in found.failures]
    _say(f'Seed {request.seed}: {number} steps, {len(lost)} with a loss.')
    for line in lost:
        _say(line)
    return 1 if lost else 0


def _soak(request: argparse.Namespace) -> int:
    with series.stage(plugin=True) as stage:
        result = soak.run(stage, request.soak)
    _CONSOLE.print(tables.for_soak(result))
    for line in result.drift:
        _say(line)
    _say(
        f'{result.migrations} migrations in {result.seconds:.0f} s, memory'
        f' released in {result.released} of them;'
        f' {len(result.drift)} differences.'
    )
    if request.json:
        content = json.dumps(dataclasses.asdict(result), indent=1)
        request.json.write_text(content + '\n')
    return 1 if result.drift else 0


if __name__ == '__main__':
    sys.exit(main())

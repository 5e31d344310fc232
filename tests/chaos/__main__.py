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
from collections.abc import Sequence
import dataclasses
import datetime
import itertools
import json
import sys
import time

from tests.chaos import arguments
from tests.chaos import matrix
from tests.chaos import preflight
from tests.chaos import series
from tests.chaos import side_by_side
from tests.chaos import soak
from tests.chaos import store
from tests.chaos import tables
from tests.chaos import verdict
from tests.chaos import walk
from tests.chaos.matrix import Cell
from tests.chaos.record import Findings
from tests.chaos.record import Record
from tests.chaos.stage import Stage
from tests.lab import command
from tests.lab import preflight as lab_preflight
from tests.lab import steps


def main() -> int:
    """Run what the command line says.

    :returns: 0; 1 if something was lost or a step failed; 2 if the request
        was refused and nothing has been changed.
    """
    return command.run(_act)


def _act(words: Sequence[str]) -> int:
    lab_preflight.refuse(words, preflight.needed)
    return _run(arguments.parse(words))


def _run(request: argparse.Namespace) -> int:
    if request.soak:
        return _soak(request)
    if request.seed is not None:
        with series.stage(plugin=True) as stage:
            return _walk(request, stage)
    return _matrix(request)


def _print(line: str) -> None:
    print(line, flush=True)


# --- the matrix


def _matrix(request: argparse.Namespace) -> int:
    findings, cells = _known(request), request.cells
    if request.rest:
        cells = findings.rest(cells, plugin=request.plugin)
    count = len(cells)
    seconds = matrix.estimate_seconds(count, request.clouds)
    takes = datetime.timedelta(minutes=round(seconds / 60))
    _print(f'{count} cells: about {str(takes)[:-3]} h.')
    for number, found in enumerate(_find(request, cells), 1):
        _print(f'{number}/{count}')
        _show(found)
        findings = findings.plus_all(found)
        _write(request, findings)
    _print(tables.for_terminal(findings))
    losses = tables.losses(findings)
    for cell, wrong in losses:
        _print(f'LOST {cell}: {"; ".join(wrong)}')
    _print(tables.summary(findings))
    return 1 if losses or findings.inconclusive else 0


def _find(
    request: argparse.Namespace, cells: list[Cell]
) -> Iterator[Findings]:
    if request.clouds > 1:
        yield from side_by_side.run(cells, request.clouds, request.plugin)
        return
    with series.stage(request.plugin) as stage:
        yield from series.run(cells, stage)


def _known(request: argparse.Namespace) -> Findings:
    if request.json and request.json.exists():
        try:
            return store.from_json(request.json.read_text())
        except ValueError as error:
            raise steps.Refused(f'{request.json}: {error}') from error
    return Findings({})


def _write(request: argparse.Namespace, findings: Findings) -> None:
    if request.json:
        store.write(findings, request.json)
    if request.rst:
        request.rst.write_text(tables.for_manual(findings))


def _show(findings: Findings) -> None:
    """Print what was found in a single cell."""
    for one in findings.inconclusive:
        _print(f'{one.cell}: inconclusive: {one.why}')
    for record in (*findings.records, *findings.without_plugin):
        _show_record(record)


def _show_record(record: Record) -> None:
    judged = verdict.judge(record)
    nova = record.nova
    whole = record.whole_seconds
    _print(
        f'{record.cell}: {judged.word}, {judged.went}; injected in'
        f' {"..".join(record.injected_in)} after'
        f' {record.reached_seconds:.1f} s; recovered in'
        f' {record.recovered_seconds:.1f} s; whole'
        f' {"never" if whole is None else f"after {whole:.1f} s"}; Nova:'
        f' {nova.status} {nova.task or ""} {nova.migration}'
        f' {dict(nova.allocations)}'
    )
    refused = [f'refused: {record.refused}'] if record.refused else []
    noted = [
        f'below headroom for {one.below_seconds:.1f} s, least available'
        f' {one.least_available_kib >> 10} MiB'
        for one in record.headrooms
    ]
    others = [
        f'another guest, from {one.source}{" (stopped)" * one.stopped}: on'
        f' {", ".join(one.runs_on)}, migration {one.nova.migration}, whole'
        f' after {one.whole_seconds} s'
        for one in record.others
    ]
    for line in (
        *refused,
        *record.remarks,
        *others,
        *noted,
        *judged.wrong,
        *record.warnings,
    ):
        _print(f'           {line}')


# --- the walk and the soak


def _walk(request: argparse.Namespace, stage: Stage) -> int:
    until = time.monotonic() + request.minutes * 60
    _print(f'Seed {request.seed}, {request.minutes} minutes.')
    steps_of_seed = itertools.takewhile(
        lambda _cell: time.monotonic() < until,
        walk.steps(request.seed, request.cells),
    )
    findings = Findings({})
    number, lost = 0, []
    for number, found in enumerate(series.run(steps_of_seed, stage), 1):
        _print(f'step {number}')
        _show(found)
        findings = findings.plus_all(found)
        _write(request, findings)
        cells = [cell for cell, _wrong in tables.losses(found)]
        cells += [one.cell for one in found.inconclusive]
        lost += [f'step {number}: {cell}' for cell in cells]
    _print(f'Seed {request.seed}: {number} steps, {len(lost)} with a loss.')
    for line in lost:
        _print(line)
    return 1 if lost else 0


def _soak(request: argparse.Namespace) -> int:
    with series.stage(plugin=True) as stage:
        result = soak.run(stage, request.soak)
    _print(tables.for_soak(result))
    for line in result.drift:
        _print(line)
    _print(
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

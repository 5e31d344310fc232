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
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import json
import signal
import sys
import time
from typing import Any
from typing import NoReturn

import libvirt
from openstack import exceptions as sdk_exceptions
from rich import console as rich_console

from tests.bench import surroundings
from tests.chaos import arguments
from tests.chaos import matrix
from tests.chaos import record
from tests.chaos import runner
from tests.chaos import soak
from tests.chaos import tables
from tests.chaos import tidy
from tests.chaos import verdict
from tests.chaos import walk
from tests.chaos.matrix import Cell
from tests.chaos.phases import Phase
from tests.chaos.record import Findings
from tests.chaos.stage import Stage
from tests.lab import cloud as lab_cloud
from tests.lab import lock
from tests.lab import preflight
from tests.lab import steps

_CONSOLE = rich_console.Console(
    highlight=False, width=None if sys.stdout.isatty() else 200
)
_TROUBLE = (
    steps.LabError,
    libvirt.libvirtError,
    sdk_exceptions.SDKException,
    TimeoutError,
    OSError,
)


def main() -> int:
    """Do what the command line says.

    :returns: 0; 1 where something was lost or a step failed; 2 where the
        request was refused and nothing has been changed.
    """
    words = sys.argv[1:]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        preflight.refuse(['chaos', *words])
        return _work(arguments.parse(words))
    except steps.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except steps.LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # As a shell says it.


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _work(request: argparse.Namespace) -> int:
    do: Callable[[argparse.Namespace, Stage], int] = _run_matrix
    if request.soak:
        do = _soak
    elif request.seed is not None:
        do = _walk
    else:
        seconds = matrix.estimate_seconds(len(request.cells))
        takes = datetime.timedelta(minutes=round(seconds / 60))
        _say(f'{len(request.cells)} cells: about {str(takes)[:-3]} h.')
    with _stage(plugin=not request.plain) as stage:
        return do(request, stage)


def _say(sentence: str) -> None:
    _CONSOLE.print(sentence, soft_wrap=True, markup=False)


@contextlib.contextmanager
def _stage(plugin: bool) -> Iterator[Stage]:
    """Bring the cloud up with one guest; end it unless it was up before.

    :param plugin: whether the computes load the plugin.
    """
    cloud = lab_cloud.Cloud()
    stays = cloud.is_up
    is_whole = False
    try:
        lock.take()
        stage = Stage(cloud)
        stage.configure()
        cloud.up(plugin=plugin)
        stage.boot()
        yield stage
        stage.clear()
        stage.unconfigure()
        if stays:
            stage.start_computes()
        is_whole = True
    finally:
        if not stays:
            # The logs are among what stays with the databases.
            cloud.down(keep_databases=not is_whole)


# --- the matrix


def _run_matrix(request: argparse.Namespace, stage: Stage) -> int:
    findings = _known(request, stage)
    for number, cell in enumerate(request.cells, 1):
        stage.configure(post_copy=cell.phase is Phase.POST_COPY)
        stage.start_computes()
        _say(f'{number}/{len(request.cells)} {cell}')
        found = _run(cell, stage)
        if isinstance(found, record.Record) and verdict.judge(found).missed:
            _say('           once more: the phase was over too soon')
            found = _run(cell, stage)
        if isinstance(found, record.Record) or not request.plain:
            findings = findings.plus(found)
        _write(request, findings)
    _CONSOLE.print(tables.for_terminal(tables.grid(findings)))
    for cell, wrong in tables.losses(findings):
        _say(f'LOST {cell}: {"; ".join(wrong)}')
    _say(tables.summary(findings))
    return 1 if tables.losses(findings) or findings.failures else 0


def _known(request: argparse.Namespace, stage: Stage) -> Findings:
    machine = dict(surroundings.describe(stage.source))
    if request.json and request.json.exists():
        try:
            known = record.from_json(request.json.read_text())
        except ValueError as error:
            raise steps.Refused(f'{request.json}: {error}') from error
        return dataclasses.replace(known, machine=machine)
    return Findings(machine)


def _write(request: argparse.Namespace, findings: Findings) -> None:
    if request.json:
        record.write(findings, request.json)
    if request.rst:
        request.rst.write_text(tables.for_manual(findings))


def _run(cell: Cell, stage: Stage) -> record.Record | record.Failure:
    """Run a cell; one that comes to nothing is noted, and others go on."""
    began = time.monotonic()
    found: record.Record | None = None
    why = ''
    try:
        found = runner.run(cell, stage)
    except _TROUBLE as trouble:
        why = str(trouble)
    _tell(found, why, time.monotonic() - began)
    try:
        tidy.up(stage, found)
    except _TROUBLE as trouble:
        _say(f'           replacing the guest: {trouble}')
        tidy.up(stage, None)
    return found or record.Failure(cell.phase.word, cell.fault, why)


def _tell(found: record.Record | None, why: str, seconds: float) -> None:
    if found is None:
        _say(f'           came to nothing after {seconds:.0f} s: {why}')
        return
    judged = verdict.judge(found)
    nova = found.nova
    whole = found.whole_seconds
    _say(
        f'           {judged.word}: {judged.went}; hit {"..".join(found.hit)}'
        f' after {found.reached_seconds:.1f} s; healed in'
        f' {found.healed_seconds:.1f} s; whole'
        f' {"never" if whole is None else f"{whole:.1f} s"}; Nova:'
        f' {nova.status} {nova.task or ""} {nova.migration}'
        f' {dict(nova.allocations)}; {seconds:.0f} s in all'
    )
    refused = [f'refused: {found.refused}'] if found.refused else []
    for line in (*refused, *judged.wrong, *found.told):
        _say(f'           {line}')


# --- the walk and the soak


def _walk(request: argparse.Namespace, stage: Stage) -> int:
    until = time.monotonic() + request.minutes * 60
    _say(f'Seed {request.seed}, {request.minutes} minutes.')
    findings = Findings(surroundings.describe(stage.source))
    lost = []
    for number, cell in enumerate(walk.steps(request.seed, request.cells), 1):
        if time.monotonic() > until:
            break
        _say(f'step {number}: {cell.phase.word} {cell.fault}')
        found = _run(cell, stage)
        findings = findings.plus(found)
        if isinstance(found, record.Failure) or verdict.judge(found).wrong:
            lost.append(f'step {number}: {cell.phase.word} {cell.fault}')
        _write(request, findings)
    _say(f'Seed {request.seed}: {number - 1} steps, {len(lost)} with a loss.')
    for line in lost:
        _say(line)
    return 1 if lost else 0


def _soak(request: argparse.Namespace, stage: Stage) -> int:
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

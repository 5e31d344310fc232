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

"""The benchmark: every method in every situation, on the two-host lab."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import logging
import sys
import time

import libvirt
from rich import console as rich_console

from tests.bench import arguments
from tests.bench import bars
from tests.bench import base
from tests.bench import matrix
from tests.bench import methods
from tests.bench import picture
from tests.bench import preflight
from tests.bench import results
from tests.bench import runner
from tests.bench import surroundings
from tests.bench import tables
from tests.bench.results import Bench
from tests.lab import command
from tests.lab import network
from tests.lab import observer
from tests.lab import preflight as lab_preflight
from tests.lab import room
from tests.lab import steps

_CONSOLE = rich_console.Console(highlight=False, soft_wrap=True)

# If other processes take more than this, the figures are not reliable.
_BUSY_PROCESSORS = 0.3


def main() -> int:
    """Measure what the command line says.

    :returns: 0; 1 where a run failed or a guest was harmed; 2 where the
        request was refused and nothing has been changed.
    """
    return command.run(_act)


def _act(words: Sequence[str]) -> int:
    lab_preflight.refuse(words, preflight.needed)
    return _bench(arguments.parse(words))


def _bench(request: argparse.Namespace) -> int:
    if any(host.is_up for host in room.hosts()):
        raise steps.Refused(
            'the lab is up, and the benchmark needs it for itself: take it'
            ' down with tools/lab.sh down'
        )
    turns = [
        turn
        for cell, names in request.cells.items()
        for turn in matrix.schedule(cell, names, request.rounds)
    ]
    _announce(turns)
    request.out.mkdir(exist_ok=True)
    logging.getLogger('stevedore').setLevel(logging.ERROR)
    observer.start_event_loop()
    with _room():
        bench = _measure_all(request, turns)
    _show(bench, request)
    is_well = not bench.failures and not any(run.wrong for run in bench.runs)
    return 0 if is_well else 1


def _announce(turns: list[matrix.Turn]) -> None:
    """Say how long it will take, before anything happens."""
    seconds = matrix.estimate_seconds(turns, arguments.MEMORY_MIB)
    takes = datetime.timedelta(minutes=round(seconds / 60))
    ends = datetime.datetime.now() + takes
    _CONSOLE.print(
        f'{len(turns)} runs: about {str(takes)[:-3]} h, until {ends:%H:%M}.'
    )
    busy = surroundings.busy_processors()
    if busy > _BUSY_PROCESSORS:
        _CONSOLE.print(
            f'[red]Other processes keep {busy:.1f} processors of this machine'
            ' busy: the figures will not be reliable.[/red]'
        )


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        room.up(None)
        yield
    finally:
        room.down()


def _measure_all(
    request: argparse.Namespace, turns: list[matrix.Turn]
) -> Bench:
    """Make all runs; what has been measured is in the file at any time."""
    began = time.monotonic()
    source, destination = room.hosts()
    bench = Bench(
        started=datetime.datetime.now().astimezone().isoformat('T', 'seconds'),
        seconds=0.0,
        memory_mib=arguments.MEMORY_MIB,
        rounds=request.rounds,
        machine=surroundings.describe(source),
        assumed_bandwidths={},
    )
    kits: dict[int | None, methods.Kit] = {}
    for number, turn in enumerate(turns, 1):
        mbps = turn.cell.migration_bandwidth_mbps
        network.set_link(mbps)
        if mbps not in kits:
            kits[mbps] = methods.kit(mbps, destination.layout.hostname)
            bench = _learn(bench, turn.cell, kits[mbps])
        name = f'{number}/{len(turns)} {turn.cell}: {turn.method}'
        if bench.is_unable(turn.cell, turn.method):
            continue
        with steps.step(f'{name}, round {turn.round}'):
            bench = _add(bench, turn, kits[mbps])
        seconds = time.monotonic() - began
        bench = dataclasses.replace(bench, seconds=seconds)
        results.write(bench, request.json)
    return bench


def _learn(bench: Bench, cell: matrix.Cell, kit: methods.Kit) -> Bench:
    """Let the plugin learn a bandwidth that nothing limits, and keep it."""
    if cell.migration_bandwidth_mbps is None:
        runner.teach(kit.make['auto'], bench.memory_mib)
    assumed = {**bench.assumed_bandwidths, cell.bandwidth: kit.bandwidth()}
    return dataclasses.replace(bench, assumed_bandwidths=assumed)


def _add(bench: Bench, turn: matrix.Turn, kit: methods.Kit) -> Bench:
    """Make one run; one that fails is kept as such, and the others go on."""
    try:
        run = runner.run(turn, kit.make[turn.method], bench.memory_mib)
    except base.Unable as finding:
        _CONSOLE.print(f'           unable: {finding.why}', markup=False)
        unable = (*bench.unable, _failure(turn, finding.why))
        return dataclasses.replace(bench, unable=unable)
    except (steps.LabError, libvirt.libvirtError, TimeoutError) as error:
        _CONSOLE.print(f'[red]failed: {error}[/red]')
        failures = (*bench.failures, _failure(turn, str(error)))
        return dataclasses.replace(bench, failures=failures)
    back = run.back_seconds
    restored = 'not restored' if back is None else f'restored in {back:.1f} s'
    _CONSOLE.print(
        f'           {run.seconds:.2f} s, {run.bytes_sent / 1e6:,.0f} MB,'
        f' delay {run.delay_seconds * 1000:.0f} ms, memory {restored}'
    )
    for line in (*run.told, *(f'WRONG: {one}' for one in run.wrong)):
        _CONSOLE.print(f'           {line}', markup=False)
    return dataclasses.replace(bench, runs=(*bench.runs, run))


def _failure(turn: matrix.Turn, why: str) -> results.Failure:
    return results.Failure(
        **dataclasses.asdict(turn.cell),
        method=turn.method,
        round=turn.round,
        why=why,
    )


def _show(bench: Bench, request: argparse.Namespace) -> None:
    shown = [
        tables.situations(bench),
        tables.needed(bench),
        *tables.measured(bench),
        *tables.unable(bench),
        tables.judged(bench),
    ]
    for table in shown:
        _CONSOLE.print(tables.for_terminal(table))
    pictures = picture.draw(bench, request.out)
    verdicts = [verdict.is_met for verdict in bars.judge(bench)]
    _CONSOLE.print(
        f'{verdicts.count(True)} of {len(verdicts)} limits met,'
        f' {verdicts.count(False)} missed; {len(bench.failures)} runs failed.'
    )
    _CONSOLE.print(f'Figures: {request.json}')
    for file in pictures:
        _CONSOLE.print(f'Picture: {file}')


if __name__ == '__main__':
    sys.exit(main())

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

"""Real guests at work, migrated without and with the plugin."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import itertools
import logging
import sys
import time

import libvirt
from rich import console as rich_console

from tests.bench import base
from tests.bench import methods
from tests.bench import surroundings
from tests.bench import tables as bench_tables
from tests.guests import arguments
from tests.guests import bars
from tests.guests import cases
from tests.guests import picture
from tests.guests import preflight
from tests.guests import results
from tests.guests import runner
from tests.guests import tables
from tests.guests.results import Guests
from tests.lab import command
from tests.lab import observer
from tests.lab import preflight as lab_preflight
from tests.lab import room
from tests.lab import steps
from tests.lab import virt

_CONSOLE = rich_console.Console(highlight=False, soft_wrap=True)
_NOTHING = contextlib.nullcontext()
# As the benchmark calls it: the plugin's default mode.
_FREEMEM = 'auto'


@dataclasses.dataclass(frozen=True)
class _Turn:
    case: cases.Case
    method: str
    round_number: int

    def __str__(self) -> str:
        return f'{self.case.name}: {self.method}, round {self.round_number}'

    @property
    def guest(self) -> virt.GuestSpec:
        return runner.spec(self.case)


def main() -> int:
    """Measure what the command line says.

    :returns: 0; 1 where a run failed or something does not hold that must; 2
        where the request was refused and nothing has been changed.
    """
    return command.run(_act)


def _act(words: Sequence[str]) -> int:
    lab_preflight.refuse(words, preflight.needed)
    return _measure(arguments.parse(words))


def _measure(request: argparse.Namespace) -> int:
    if any(host.is_up for host in room.hosts()):
        raise steps.Refused(
            'the lab is up, and the guests need it for themselves: take it'
            ' down with tools/lab.sh down'
        )
    for case in request.cases:
        runner.system(case).get()
    logging.getLogger('stevedore').setLevel(logging.ERROR)
    observer.start_event_loop()
    with _room():
        guests = _measure_all(request)
    _show(guests, request)
    holds = all(one.is_met is not False for one in bars.judge(guests))
    return 0 if holds and not guests.failures else 1


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        room.up()
        yield
    finally:
        room.down()


def _measure_all(request: argparse.Namespace) -> Guests:
    """Make all runs; what has been measured is in the file at any time."""
    began = time.monotonic()
    source, destination = room.hosts()
    kit = methods.kit(room.LINK_MBIT, destination.layout.hostname)
    guests = Guests(
        started=datetime.datetime.now().astimezone().isoformat('T', 'seconds'),
        seconds=0.0,
        rounds=request.rounds,
        machine=surroundings.describe(source),
        quick=request.quick,
    )
    make_run = runner.run_quickly if request.quick else runner.run
    by_guest = itertools.groupby(_turns(request), lambda turn: turn.guest)
    for guest, turns in by_guest:
        with runner.booted(guest) if request.quick else _NOTHING:
            for turn in turns:
                with steps.step(str(turn)):
                    guests = _add(guests, turn, kit, make_run)
                seconds = time.monotonic() - began
                guests = dataclasses.replace(guests, seconds=seconds)
                results.write(guests, request.json)
    return guests


def _turns(request: argparse.Namespace) -> Iterator[_Turn]:
    """Order the runs: all methods in each round, to and fro."""
    order = request.methods
    for case in request.cases:
        for number in range(1, request.rounds + 1):
            for method in order if number % 2 else order[::-1]:
                yield _Turn(case, method, number)


def _add(
    guests: Guests, turn: _Turn, kit: methods.Kit, make_run: runner.MakeRun
) -> Guests:
    """Make one run; one that fails is kept as such, and the others go on."""
    name = _FREEMEM if turn.method == arguments.FREEMEM else turn.method
    how = kit.make[name]()
    try:
        run = make_run(turn.case, turn.method, turn.round_number, how)
    except base.Unable as finding:
        _CONSOLE.print(f'           unable: {finding.why}', markup=False)
        unable = (*guests.unable, _failure(turn, finding.why))
        return dataclasses.replace(guests, unable=unable)
    except (
        steps.LabError,
        libvirt.libvirtError,
        LookupError,  # The guest has ended.
        TimeoutError,
    ) as error:
        _CONSOLE.print(f'failed: {error}', style='red', markup=False)
        failures = (*guests.failures, _failure(turn, str(error)))
        return dataclasses.replace(guests, failures=failures)
    _CONSOLE.print(
        f'           {run.seconds:.2f} s, {run.bytes_sent / 1e6:,.0f} MB,'
        f' {run.killed} killed, {run.failed_allocations} allocations failed,'
        f' {run.swapped_out_kib} KiB swapped out'
    )
    wrong = (f'WRONG: {one}' for one in (*run.harm, *run.wrong))
    for line in (*run.told, *wrong):
        _CONSOLE.print(f'           {line}', markup=False)
    return guests.with_run(run)


def _failure(turn: _Turn, why: str) -> results.Failure:
    return results.Failure(turn.case.name, turn.method, turn.round_number, why)


def _show(guests: Guests, request: argparse.Namespace) -> None:
    if not guests.runs:
        return
    for table in (
        tables.migrations(guests),
        tables.work(guests),
        *tables.unable(guests),
        tables.judged(guests),
    ):
        _CONSOLE.print(bench_tables.for_terminal(table))
    drawn = request.json.with_suffix('.svg')
    picture.draw(guests, drawn)
    verdicts = [verdict.is_met for verdict in bars.judge(guests)]
    _CONSOLE.print(
        f'{verdicts.count(True)} of {len(verdicts)} limits met,'
        f' {verdicts.count(False)} missed; {len(guests.failures)} runs failed.'
    )
    _CONSOLE.print(f'Figures: {request.json}\nPicture: {drawn}')


if __name__ == '__main__':
    sys.exit(main())

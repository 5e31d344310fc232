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

"""What is measured: scenarios, bandwidths and methods, in which order; pure.

The standard library alone: :mod:`tests.bench.preflight` judges the words of a
command with this before anything is installed.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import itertools

from tests.bench import scenarios

#: How a guest is migrated, in the order they are shown; the first is what
#: the others are compared with.
METHODS = ('plain', 'before', 'during', 'auto')
PLAIN = METHODS[0]

#: Of the migration network, 10^6 bits a second; None where nothing limits it.
BANDWIDTHS_MBPS: tuple[int | None, ...] = (1000, None)

ROUNDS = 3
QUICK_ROUNDS = 1

# What the migration network carries here where nothing limits it: for
# estimates.
_UNLIMITED_MBPS = 10_000
# Of each run: boot, wait until the resident size is settled, look at the
# guest before and after, end it. Measured on two cores.
_RUN_SECONDS = 20
_LAB_SECONDS = 15


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One situation, in which all methods are measured round by round.

    :param scenario: what the guest has done before, and does meanwhile.
    :param reporting: whether it reports free pages.
    :param migration_bandwidth_mbps: of the migration network, 10^6 bits a
        second; None where nothing limits it.
    """

    scenario: str
    reporting: bool
    migration_bandwidth_mbps: int | None

    @property
    def bandwidth(self) -> str:
        """The bandwidth, for people."""
        return bandwidth_name(self.migration_bandwidth_mbps)

    @property
    def guest(self) -> str:
        """The guest, for people."""
        return guest_name(self.scenario, self.reporting)

    def __str__(self) -> str:
        return f'{self.guest}, {self.bandwidth}'


@dataclasses.dataclass(frozen=True)
class Turn:
    """One run to be made."""

    cell: Cell
    round: int
    method: str


#: The cells of --quick with their methods: one of each kind of bar.
QUICK = {
    Cell('freed', False, 1000): ('plain', 'before', 'auto'),
    Cell('cache-cold', True, 1000): ('plain', 'auto'),
    Cell('fragmented', True, 1000): ('plain', 'auto'),
    Cell('fresh', True, 1000): ('plain', 'auto'),
}

_TIMED = ('plain', 'auto')

#: The cells of --bars with their methods: what each bar is about.
BARS = {
    Cell('freed', False, 1000): METHODS,
    Cell('cache-cold', True, 1000): METHODS,
    Cell('fragmented', True, 1000): _TIMED,
    Cell('cache-hot', False, 1000): _TIMED,
    **{
        Cell(name, True, mbps): _TIMED
        for mbps in BANDWIDTHS_MBPS
        for name in ('freed', 'fresh', 'full')
    },
}


def guest_name(scenario: str, reporting: bool | None = None) -> str:
    """Say what a guest is; without whether it reports, of both kinds."""
    kind = {True: ', reporting on', False: ', reporting off', None: ''}
    return f'{scenario}{kind[reporting]}'


def bandwidth_name(mbps: int | None) -> str:
    """Say a bandwidth as people do."""
    return 'unlimited' if mbps is None else f'{mbps / 1000:g} Gb/s'


def cells(
    names: Iterable[str],
    reporting: Iterable[bool],
    bandwidths_mbps: Iterable[int | None],
) -> Iterator[Cell]:
    """Combine; the bandwidth, set for all that follow, changes least."""
    combined = itertools.product(bandwidths_mbps, names, reporting)
    for mbps, name, reports in combined:
        yield Cell(name, reports, mbps)


def schedule(
    cell: Cell, methods: Sequence[str], rounds: int
) -> Iterator[Turn]:
    """Order the runs of a cell: every method once in each round.

    Each round begins with another method, so that what changes with time
    and with place meets all of them.
    """
    for number in range(rounds):
        begin = number % len(methods)
        for method in (*methods[begin:], *methods[:begin]):
            yield Turn(cell, number + 1, method)


def estimate_seconds(turns: Iterable[Turn], memory_mib: int) -> float:
    """Estimate how long runs take on two cores with emulated guests."""
    return _LAB_SECONDS + sum(_run_seconds(turn, memory_mib) for turn in turns)


def _run_seconds(turn: Turn, memory_mib: int) -> float:
    scenario = scenarios.SCENARIOS[turn.cell.scenario]
    mbps = turn.cell.migration_bandwidth_mbps or _UNLIMITED_MBPS
    sent_mib = memory_mib * scenario.sent_share(
        turn.cell.reporting, turn.method == PLAIN
    )
    transfer_seconds = sent_mib * 1.048576 * 8 / mbps
    prepare_seconds = scenario.prepare_seconds * memory_mib / 4096
    return (
        _RUN_SECONDS
        + prepare_seconds
        + transfer_seconds
        + scenario.after_seconds
    )

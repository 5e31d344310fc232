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

#: What the others are compared with.
PLAIN = 'plain'
#: The plugin by itself.
MODES = ('before', 'during', 'auto')
#: The plugin, and what else libvirt can be asked for.
COMBINED = ('auto+multifd', 'auto+multifd+zstd')
#: All that the plugin has a part in.
OURS = (*MODES, *COMBINED)
#: What there is without the plugin.
PEERS = (
    'free-page-hint',
    'guest-reclaim',
    'fixed-minimum',
    'multifd',
    'multifd+zstd',
    'xbzrle',
    'auto-converge',
    'post-copy',
)
#: How a guest is migrated, in the order they are shown.
METHODS = (PLAIN, *OURS, *PEERS)
#: What is measured unless methods are named: all of them would take a day.
USUAL = (PLAIN, *MODES)

#: What is measured unless speeds of the migration network are named, 10^6 bits
#: a second; None where nothing limits it.
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
_LEAST_PATIENCE_SECONDS = 60.0
# These send nothing that can be released.
_RELEASING = (*OURS, 'guest-reclaim', 'fixed-minimum')
# These end, however fast a guest writes to its memory.
_ENDING = ('post-copy',)


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
    Cell('freed', False, 1000): ('plain', 'before', 'auto', 'free-page-hint'),
    Cell('cache-cold', True, 1000): ('plain', 'auto'),
    Cell('fragmented', True, 1000): ('plain', 'auto'),
    Cell('fresh', True, 1000): ('plain', 'auto'),
}

_TIMED = ('plain', 'auto')

#: The cells of --bars with their methods: what each bar is about, and the
#: peers that can help such a guest.
BARS = {
    Cell('freed', False, 1000): (
        *('plain', 'before', 'auto'),
        *('free-page-hint', 'fixed-minimum', 'multifd+zstd'),
        *('auto+multifd', 'auto+multifd+zstd'),
    ),
    Cell('cache-cold', True, 1000): (
        *('plain', 'before', 'auto'),
        *('guest-reclaim', 'fixed-minimum'),
    ),
    Cell('fragmented', True, 1000): (*_TIMED, 'fixed-minimum'),
    Cell('cache-hot', False, 1000): _TIMED,
    Cell('busy-fast', False, 1000): (
        *(*_TIMED, 'xbzrle'),
        *('auto-converge', 'post-copy'),
    ),
    **{
        Cell(name, True, mbps): methods
        for name, methods, speeds_mbps in (
            ('freed', (*_TIMED, 'multifd'), (1000, 10_000, None)),
            ('fresh', _TIMED, BANDWIDTHS_MBPS),
            # Over 1 Gb/s it is the path that bounds.
            ('full', _TIMED, (1000,)),
            ('full', (*_TIMED, 'multifd'), (None,)),
        )
        for mbps in speeds_mbps
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


def patience_seconds(cell: Cell, memory_mib: int) -> float:
    """Tell after which time a transfer seems never to end.

    Three times as long as all of the guest's memory takes.
    """
    seconds = _path_seconds(memory_mib, cell.migration_bandwidth_mbps)
    return max(_LEAST_PATIENCE_SECONDS, 3 * seconds)


def _path_seconds(mib: float, mbps: int | None) -> float:
    """Tell how long a path takes to carry so much."""
    return mib * 1.048576 * 8 / (mbps or _UNLIMITED_MBPS)


def estimate_seconds(turns: Iterable[Turn], memory_mib: int) -> float:
    """Estimate how long runs take on two cores with emulated guests."""
    return _LAB_SECONDS + sum(_run_seconds(turn, memory_mib) for turn in turns)


def _run_seconds(turn: Turn, memory_mib: int) -> float:
    scenario = scenarios.SCENARIOS[turn.cell.scenario]
    ends = _ends(turn)
    if not ends and turn.round > 1:
        return 0.0  # What a method could not do once, it is not asked again.
    sent_mib = memory_mib * scenario.sent_share(
        turn.cell.reporting or turn.method == 'free-page-hint',
        turn.method in _RELEASING,
    )
    return (
        _RUN_SECONDS
        + scenario.prepare_seconds * memory_mib / 4096
        + (
            _path_seconds(sent_mib, turn.cell.migration_bandwidth_mbps)
            if ends
            else patience_seconds(turn.cell, memory_mib)
        )
        + scenario.after_seconds
    )


def _ends(turn: Turn) -> bool:
    """Tell whether a transfer can be expected to end."""
    scenario = scenarios.SCENARIOS[turn.cell.scenario]
    mbps = turn.cell.migration_bandwidth_mbps or _UNLIMITED_MBPS
    return (
        turn.method in _ENDING or scenario.rewritten_mb_per_second * 8 < mbps
    )

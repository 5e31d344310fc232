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

"""The figures of a benchmark that the simulation is compared with; pure.

Medians with their spread, small enough to be kept with the tests.
"""

from collections import Counter
from collections.abc import Iterable
import dataclasses
import json
import statistics

from tests.bench import figures
from tests.bench import files
from tests.bench import matrix
from tests.bench import results
from tests.bench.figures import Spread
from tests.simulation import replay
from tests.simulation.model import Model

#: Changes when a figure changes its meaning.
FORMAT = 1

# The median of a single run says nothing.
_LEAST_RUNS = 2

# How the plugin's log begins to say that it has released memory.
_RELEASED = ('Released ', 'Stopped releasing ')

# What of a benchmark's surroundings tells whether figures compare.
_FACTS = ('processors', 'guests run by', 'QEMU', 'libvirt', 'nova-freemem')


@dataclasses.dataclass(frozen=True)
class Case:
    """A method in a situation, measured in some rounds.

    :param bandwidth: of the migration network, for people.
    :param back_seconds: from the landing to all memory being restored; None
        where nothing was released, or where it was not restored.
    """

    situation: replay.Situation
    bandwidth: str
    method: str
    seconds: Spread
    megabytes: Spread
    back_seconds: Spread | None

    @property
    def guest(self) -> str:
        """The guest, for people."""
        situation = self.situation
        return matrix.guest_name(situation.scenario, situation.reporting)


@dataclasses.dataclass(frozen=True)
class Capture:
    """What was measured, and the model's parameters that come nearest to it.

    :param started: when it was measured, ISO 8601.
    :param machine: what on.
    :param fitted: the model's parameters, by their names in :class:`Model`.
    """

    started: str
    machine: dict[str, str]
    cases: tuple[Case, ...]
    fitted: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model with these parameters."""
        return dataclasses.replace(Model(), **self.fitted)


def of_bench(bench: results.Bench) -> Capture:
    """Take from a benchmark the situations that are complete.

    Left out are the situations and the methods that the simulation does not
    know, and the situations in which one of the others is still to be measured
    or has failed in all rounds but one.

    :raises ValueError: none is left.
    """
    cases = tuple(
        case
        for cell in bench.cells()
        if cell.scenario in replay.SCENARIOS and _is_complete(bench, cell)
        for case in _cases(bench, cell)
    )
    if not cases:
        raise ValueError('no situation was measured in all its rounds')
    machine = {
        name: bench.machine[name] for name in _FACTS if name in bench.machine
    }
    return Capture(bench.started, machine, cases)


def _is_complete(bench: results.Bench, cell: matrix.Cell) -> bool:
    methods = _simulated(bench, cell)
    tried = Counter(
        one.method
        for one in (*bench.runs, *bench.failures)
        if one.cell == cell
    )
    return matrix.PLAIN in methods and all(
        tried[method] >= bench.rounds
        and len(bench.of(cell, method)) >= min(_LEAST_RUNS, bench.rounds)
        for method in methods
    )


def _simulated(bench: results.Bench, cell: matrix.Cell) -> list[str]:
    """List the methods that were measured and that the simulation knows."""
    return [name for name in bench.methods(cell) if name in matrix.USUAL]


def _cases(bench: results.Bench, cell: matrix.Cell) -> Iterable[Case]:
    plain = bench.of(cell, matrix.PLAIN)
    situation = replay.Situation(
        scenario=cell.scenario,
        reporting=cell.reporting,
        memory_kib=bench.memory_mib << 10,
        rss_kib=int(statistics.median(run.rss_before_kib for run in plain)),
        plain_kib=int(statistics.median(run.bytes_sent for run in plain))
        >> 10,
        # 'N Mbit/s, and how that is known'
        migration_bandwidth_mbps=float(
            bench.assumed_bandwidths[cell.bandwidth].split()[0]
        ),
    )
    for method in _simulated(bench, cell):
        runs = bench.of(cell, method)
        was_released = any(
            line.startswith(_RELEASED) for run in runs for line in run.told
        )
        yield Case(
            situation,
            cell.bandwidth,
            method,
            _spread(runs, figures.seconds),
            _spread(runs, figures.megabytes),
            figures.spread(runs, lambda run: run.back_seconds)
            if was_released
            else None,
        )


def _spread(runs: list[results.Run], pick: figures.Pick) -> Spread:
    found = figures.spread(runs, pick)
    assert found is not None
    return found


def to_json(capture: Capture) -> str:
    """Write the medians and the fitted parameters."""
    return files.to_json(capture, FORMAT)


def from_json(text: str) -> Capture:
    """Read what to_json() wrote.

    :raises ValueError: it is something else.
    """
    return files.from_json(text, Capture, FORMAT)


def read(text: str) -> Capture:
    """Read what to_json() wrote, or take it from a benchmark's figures.

    :raises ValueError: it is neither.
    """
    content = json.loads(text)
    if isinstance(content, dict) and 'cases' in content:
        return from_json(text)
    return of_bench(results.from_json(text))

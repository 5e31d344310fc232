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

"""The figures of a benchmark that the simulation is held against; pure.

Medians with their spread, small enough to be kept with the tests.
"""

from collections import Counter
from collections.abc import Iterable
import dataclasses
import json
import statistics
from typing import Any

from tests.bench import figures
from tests.bench import matrix
from tests.bench import results
from tests.bench.figures import Spread
from tests.simulation import replay
from tests.simulation.model import Model

#: Changes when a figure changes its meaning.
FORMAT = 1

# A median of fewer is none.
_LEAST_RUNS = 2

# What of a benchmark's surroundings tells whether figures compare.
_FACTS = ('processors', 'guests run by', 'QEMU', 'libvirt', 'nova-freemem')


@dataclasses.dataclass(frozen=True)
class Case:
    """A method in a situation, measured in some rounds.

    :param back_seconds: from the landing to all memory being back; None
        where nothing was taken, or where it did not come back.
    """

    situation: replay.Situation
    link: str
    method: str
    seconds: Spread
    megabytes: Spread
    back_seconds: Spread | None

    @property
    def guest(self) -> str:
        """The guest, for people."""
        reporting = 'on' if self.situation.reporting else 'off'
        return f'{self.situation.scenario}, reporting {reporting}'


@dataclasses.dataclass(frozen=True)
class Capture:
    """What was measured, and the model's figures that come nearest to it.

    :param started: when it was measured, ISO 8601.
    :param machine: what on.
    :param fitted: the figures, by the names that :class:`Model` gives them.
    """

    started: str
    machine: dict[str, str]
    cases: tuple[Case, ...]
    fitted: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model by these figures."""
        return dataclasses.replace(Model(), **self.fitted)


def of_bench(bench: results.Bench) -> Capture:
    """Take from a benchmark the situations that are complete.

    Those are left out that the simulation does not know, and those in which
    a method is still to be measured or has failed in all rounds but one.

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
    methods = bench.methods(cell)
    attempts: tuple[results.Run | results.Failure, ...] = (
        *bench.runs,
        *bench.failures,
    )
    tried = Counter(
        one.method
        for one in attempts
        if (one.scenario, one.reporting, one.migration_bandwidth_mbps)
        == (cell.scenario, cell.reporting, cell.migration_bandwidth_mbps)
    )
    return matrix.PLAIN in methods and all(
        tried[method] >= bench.rounds
        and len(bench.of(cell, method)) >= min(_LEAST_RUNS, bench.rounds)
        for method in methods
    )


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
            bench.learnt_mbit[cell.link].split()[0]
        ),
    )
    for method in bench.methods(cell):
        runs = bench.of(cell, method)
        was_taken = any(
            line.startswith('released') for run in runs for line in run.told
        )
        yield Case(
            situation,
            cell.link,
            method,
            _spread(runs, figures.seconds),
            _spread(runs, figures.megabytes),
            figures.spread(runs, lambda run: run.back_seconds)
            if was_taken
            else None,
        )


def _spread(runs: list[results.Run], pick: figures.Pick) -> Spread:
    found = figures.spread(runs, pick)
    assert found is not None
    return found


def to_json(capture: Capture) -> str:
    """Write it down."""
    content = {'format': FORMAT, **dataclasses.asdict(capture)}
    return json.dumps(_rounded(content), indent=1) + '\n'


def _rounded(value: Any) -> Any:
    """Write what is no whole number to the thousandth."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value


def is_capture(text: str) -> bool:
    """Tell a capture from the figures of a benchmark.

    :raises ValueError: it is no JSON.
    """
    content = json.loads(text)
    return isinstance(content, dict) and 'cases' in content


def from_json(text: str) -> Capture:
    """Read what to_json() wrote.

    :raises ValueError: it is something else.
    """
    content = json.loads(text)
    if not isinstance(content, dict) or content.pop('format', 0) != FORMAT:
        raise ValueError(f'not the capture of a benchmark, format {FORMAT}')
    try:
        cases = tuple(_case(one) for one in content.pop('cases'))
        return Capture(cases=cases, **content)
    except (KeyError, TypeError) as error:
        raise ValueError(f'the capture is not whole: {error}') from error


def _case(content: dict[str, Any]) -> Case:
    back = content['back_seconds']
    return Case(
        situation=replay.Situation(**content['situation']),
        link=content['link'],
        method=content['method'],
        seconds=Spread(**content['seconds']),
        megabytes=Spread(**content['megabytes']),
        back_seconds=None if back is None else Spread(**back),
    )

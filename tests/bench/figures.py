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

"""Figures of several runs: medians, spreads, comparisons; pure."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import statistics

from tests.bench import matrix
from tests.bench import oracle
from tests.bench import scenarios
from tests.bench.results import Bench
from tests.bench.results import Run

#: Reads one figure of a run; None where the run has none.
Pick = Callable[[Run], float | None]


@dataclasses.dataclass(frozen=True)
class Spread:
    """A figure over several runs."""

    median: float
    least: float
    most: float
    count: int


def spread(runs: Sequence[Run], pick: Pick) -> Spread | None:
    """Find the median of a figure, and how far the runs lie apart.

    :returns: None where no run has the figure.
    """
    values = [value for run in runs if (value := pick(run)) is not None]
    if not values:
        return None
    return Spread(
        statistics.median(values), min(values), max(values), len(values)
    )


def median(runs: Sequence[Run], pick: Pick) -> float | None:
    """Find the median of a figure; None where no run has it."""
    found = spread(runs, pick)
    return None if found is None else found.median


def to_plain(
    bench: Bench, cell: matrix.Cell, method: str, pick: Pick
) -> float | None:
    """Compare a method's median with that of a plain migration.

    Rounds count in which both were measured.

    :returns: the share of plain's figure; None where there is none.
    """
    some = [run for run in bench.of(cell, method) if pick(run) is not None]
    plain = [
        run for run in bench.of(cell, matrix.PLAIN) if pick(run) is not None
    ]
    both = {run.round for run in some} & {run.round for run in plain}
    part = median([run for run in some if run.round in both], pick)
    whole = median([run for run in plain if run.round in both], pick)
    return None if part is None or not whole else part / whole


def to_oracle(bench: Bench, cell: matrix.Cell, method: str) -> float | None:
    """Compare a method's median seconds with what an oracle takes."""
    found = foretold(bench, cell)
    part = median(bench.of(cell, method), seconds)
    return None if part is None or found is None else part / found.seconds


def foretold(bench: Bench, cell: matrix.Cell) -> oracle.Oracle | None:
    """Tell what an oracle would do in a situation.

    :returns: None where nobody knows what the path carries.
    """
    mbps: float | None = cell.migration_bandwidth_mbps
    if mbps is None:
        # 'N Mbit/s, and how that is known'
        assumed = bench.assumed_bandwidths.get(cell.bandwidth)
        if assumed is None:
            return None
        mbps = float(assumed.split()[0])
    scenario = scenarios.SCENARIOS[cell.scenario]
    return oracle.of(scenario, bench.memory_mib, mbps)


def seconds(run: Run) -> float:
    """Read the seconds of the whole migration."""
    return run.seconds


def megabytes(run: Run) -> float:
    """Read the bytes sent, 10^6."""
    return run.bytes_sent / 1e6


def delay_ms(run: Run) -> float:
    """Read the milliseconds until the transfer starts."""
    return run.delay_seconds * 1000


def pace_during(run: Run) -> float | None:
    """Read how fast the guest worked, as a share of what it did before."""
    return _share(run.pace.during, run.pace.before)


def pace_after(run: Run) -> float | None:
    """Read the same for the time after the landing."""
    return _share(run.pace.after, run.pace.before)


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole

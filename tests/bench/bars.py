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

"""What the plugin must reach, compared with what was measured; pure."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import math
from typing import Any

from tests.bench import figures
from tests.bench import matrix
from tests.bench.results import Bench
from tests.bench.results import Run

#: Reads what a bar is about, of all that was measured; None where it was not.
Measure = Callable[[Any], float | None]


@dataclasses.dataclass(frozen=True)
class Bar:
    """A limit that must not be exceeded.

    :param where: the situations it is about; of several, the worst counts.
    :param what: what is compared with the limit.
    :param form: how the figure and the limit are written.
    """

    where: str
    what: str
    limit: float
    form: str
    measure: Measure

    def say(self, figure: float) -> str:
        """Write a figure, or the limit."""
        return format(figure, self.form)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A bar and what was measured.

    :param figure: None where it was not measured.
    """

    bar: Bar
    figure: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether it is met; None where it was not measured."""
        return None if self.figure is None else self.figure <= self.bar.limit

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        return {True: 'met', False: 'missed', None: 'not measured'}[
            self.is_met
        ]


def judge(bench: Bench) -> list[Verdict]:
    """Compare every bar with what was measured."""
    return [Verdict(bar, bar.measure(bench)) for bar in BARS]


def _worst(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known, default=None)


def _compared(
    scenario: str,
    reporting: bool | None,
    mbps: int | None,
    method: str,
    what: str,
    limit: float,
) -> Bar:
    """Make a bar of a comparison with plain.

    :param reporting: None for guests with and without.
    :param mbps: the bandwidth; None where nothing limits it.
    :param what: ``seconds`` or ``bytes``.
    """
    pick = {'seconds': figures.seconds, 'bytes': figures.megabytes}[what]
    return Bar(
        _where(scenario, reporting, mbps),
        f"{what} of {method}, of plain's",
        limit,
        '.1%',
        lambda bench: _worst(
            figures.to_plain(bench, cell, method, pick)
            for cell in _cells(bench, scenario, reporting, mbps)
        ),
    )


def _delay(scenario: str, mbps: int | None) -> Bar:
    return Bar(
        _where(scenario, None, mbps),
        'ms until the transfer starts, auto',
        150,
        '.0f',
        lambda bench: _worst(
            figures.median(bench.of(cell, 'auto'), figures.delay_ms)
            for cell in _cells(bench, scenario, None, mbps)
        ),
    )


def _where(scenario: str, reporting: bool | None, mbps: int | None) -> str:
    guest = matrix.guest_name(scenario, reporting)
    return f'{guest}, {matrix.bandwidth_name(mbps)}'


def _cells(
    bench: Bench, scenario: str, reporting: bool | None, mbps: int | None
) -> Iterator[matrix.Cell]:
    for cell in bench.cells():
        if (
            cell.scenario == scenario
            and cell.migration_bandwidth_mbps == mbps
            and reporting in (None, cell.reporting)
        ):
            yield cell


def _reads_lost(bench: Bench) -> float | None:
    """Find what auto costs a hot file's readers after the landing."""
    shares = (
        figures.to_plain(bench, cell, 'auto', lambda run: run.pace.after)
        for cell in bench.cells()
        if cell.scenario == 'cache-hot'
    )
    return _worst(None if share is None else 1 - share for share in shares)


def _sum(what: str, count: Callable[[Run], int]) -> Bar:
    """Make a bar of what no run with the plugin may do to its guest."""

    def measure(bench: Bench) -> float | None:
        counts = [
            count(run) for run in bench.runs if run.method in matrix.OURS
        ]
        return sum(counts) if counts else None

    return Bar(_EVERY, what, 0, '.0f', measure)


def _restored(bench: Bench) -> float | None:
    """Find the worst median; memory that is never restored is the worst."""
    return _worst(
        figures.median(
            bench.of(cell, method),
            lambda run: (
                math.inf if run.back_seconds is None else run.back_seconds
            ),
        )
        for cell in bench.cells()
        for method in bench.methods(cell)
        if method in matrix.OURS
    )


def _beside(
    scenario: str, reporting: bool | None, mbps: int | None, limit: float
) -> Bar:
    """Make a bar of a comparison with whatever else is quickest."""
    return Bar(
        _where(scenario, reporting, mbps),
        "seconds of auto, of the best peer's or plain's",
        limit,
        '.1%',
        lambda bench: _worst(
            _to_best(bench, cell, (matrix.PLAIN, *matrix.PEERS))
            for cell in _cells(bench, scenario, reporting, mbps)
        ),
    )


def _to_best(
    bench: Bench, cell: matrix.Cell, others: Iterable[str]
) -> float | None:
    """Compare auto's seconds with those of the quickest of some methods.

    One that has harmed its guest has no seconds to compare with.
    """
    auto = figures.median(bench.of(cell, 'auto'), figures.seconds)
    found = [
        seconds
        for method in others
        if (runs := bench.of(cell, method))
        and not any(run.wrong or run.oom_kills for run in runs)
        and (seconds := figures.median(runs, figures.seconds)) is not None
    ]
    return None if auto is None or not found else auto / min(found)


def _against_hints() -> Bar:
    where = ('freed', False, 1000)
    return Bar(
        _where(*where),
        "seconds of auto, of free-page-hint's",
        0.95,
        '.1%',
        lambda bench: _worst(
            _to_best(bench, cell, ('free-page-hint',))
            for cell in _cells(bench, *where)
        ),
    )


def _against_oracle(scenario: str, reporting: bool) -> Bar:
    return Bar(
        _where(scenario, reporting, 1000),
        "seconds of auto, of an oracle's",
        1.5,
        '.2f',
        lambda bench: _worst(
            figures.to_oracle(bench, cell, 'auto')
            for cell in _cells(bench, scenario, reporting, 1000)
        ),
    )


def _converges(bench: Bench) -> float | None:
    """Compare auto with plain where a transfer may never end."""
    return _worst(
        _to_endless(bench, cell)
        for cell in _cells(bench, 'busy-fast', None, 1000)
    )


def _to_endless(bench: Bench, cell: matrix.Cell) -> float | None:
    unable = {
        method: bench.is_unable(cell, method)
        for method in (matrix.PLAIN, 'auto')
    }
    if all(unable.values()):
        return 1.0
    if unable['auto']:
        return math.inf
    if unable[matrix.PLAIN]:
        return 0.0 if bench.of(cell, 'auto') else None
    return figures.to_plain(bench, cell, 'auto', figures.seconds)


def _processor(bench: Bench) -> float | None:
    """Find the worst median of what the plugin takes of a processor."""
    return _worst(
        figures.median(
            bench.of(cell, method), lambda run: run.cpu_seconds / run.seconds
        )
        for cell in bench.cells()
        for method in matrix.OURS
    )


_EVERY = 'all that was measured'

#: Each limit the project has set itself.
BARS: tuple[Bar, ...] = (
    _compared('freed', False, 1000, 'auto', 'seconds', 0.22),
    _against_hints(),
    _compared('freed', False, 1000, 'before', 'bytes', 0.07),
    _compared('cache-cold', True, 1000, 'auto', 'seconds', 0.26),
    _compared('cache-cold', True, 1000, 'before', 'bytes', 0.08),
    _compared('fragmented', True, 1000, 'auto', 'seconds', 0.30),
    *(_beside('freed', True, mbps, 1.03) for mbps in (1000, 10_000, None)),
    *(
        bar
        for name in ('fresh', 'full')
        for mbps in matrix.BANDWIDTHS_MBPS
        for bar in (
            _beside(name, None, mbps, 1.03),
            _delay(name, mbps),
        )
    ),
    Bar(
        _where('busy-fast', None, 1000),
        "seconds of auto, of plain's; 0 where plain never ends",
        1.03,
        '.1%',
        _converges,
    ),
    *(
        _against_oracle(name, reporting)
        for name, reporting in (
            ('freed', False),
            ('cache-cold', True),
            ('fragmented', True),
        )
    ),
    Bar(
        'cache-hot',
        "reads lost in the 30 s after landing, auto, of plain's",
        0.05,
        '.1%',
        _reads_lost,
    ),
    _sum('OOM kills', lambda run: run.oom_kills),
    _sum('pages swapped out', lambda run: run.swapped_out_pages),
    Bar(_EVERY, 's from landing to all memory restored', 3, '.1f', _restored),
    Bar(_EVERY, 'of a processor, the plugin', 0.02, '.1%', _processor),
    _sum('guests that are not intact', lambda run: bool(run.wrong)),
)

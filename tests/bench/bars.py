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

"""What the plugin must reach, held against what was measured; pure."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses

from tests.bench import figures
from tests.bench import matrix
from tests.bench.results import Bench
from tests.bench.results import Run

#: Reads what a bar is about; None where it was not measured.
Measure = Callable[[Bench], float | None]


@dataclasses.dataclass(frozen=True)
class Bar:
    """A limit that must not be passed.

    :param where: the situations it is about; of several, the worst counts.
    :param what: what is held against the limit.
    :param form: how the figure and the limit are written.
    """

    where: str
    what: str
    limit: float
    form: str
    measure: Measure


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A bar and what was measured.

    :param figure: None where it was not measured.
    """

    bar: Bar
    figure: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether it is met; None where nobody knows."""
        return None if self.figure is None else self.figure <= self.bar.limit

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        return {True: 'met', False: 'missed', None: 'not measured'}[
            self.is_met
        ]


def judge(bench: Bench) -> list[Verdict]:
    """Hold every bar against what was measured."""
    return [Verdict(bar, bar.measure(bench)) for bar in BARS]


def _worst(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known, default=None)


def _compared(
    scenario: str,
    reporting: bool | None,
    links: Sequence[int | None],
    method: str,
    what: str,
    limit: float,
) -> Bar:
    """Make a bar of a comparison with plain.

    :param reporting: None for guests with and without.
    :param what: ``seconds`` or ``bytes``.
    """
    pick = {'seconds': figures.seconds, 'bytes': figures.megabytes}[what]

    def measure(bench: Bench) -> float | None:
        return _worst(
            figures.to_plain(bench, cell, method, pick)
            for cell in _cells(bench, scenario, reporting, links)
        )

    return Bar(
        _where(scenario, reporting, links),
        f"{what} of {method}, of plain's",
        limit,
        '.1%',
        measure,
    )


def _delay(scenario: str, links: Sequence[int | None]) -> Bar:
    def measure(bench: Bench) -> float | None:
        return _worst(
            figures.median(
                bench.of(cell, 'auto'), lambda run: run.delay_seconds * 1000
            )
            for cell in _cells(bench, scenario, None, links)
        )

    return Bar(
        _where(scenario, None, links),
        'ms until the transfer starts, auto',
        150,
        '.0f',
        measure,
    )


def _where(
    scenario: str, reporting: bool | None, links: Sequence[int | None]
) -> str:
    words = [scenario]
    if reporting is not None:
        words.append(f'reporting {"on" if reporting else "off"}')
    words.append(' and '.join(map(matrix.link_name, links)))
    return ', '.join(words)


def _cells(
    bench: Bench,
    scenario: str,
    reporting: bool | None,
    links: Sequence[int | None],
) -> Iterator[matrix.Cell]:
    for cell in bench.cells():
        if (
            cell.scenario == scenario
            and cell.migration_bandwidth_mbps in links
            and (reporting is None or cell.reporting == reporting)
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


def _released(bench: Bench) -> Iterator[Run]:
    return (run for run in bench.runs if run.method != matrix.PLAIN)


def _sum(count: Callable[[Run], int]) -> Measure:
    def measure(bench: Bench) -> float | None:
        counts = [count(run) for run in _released(bench)]
        return sum(counts) if counts else None

    return measure


def _back(bench: Bench) -> float | None:
    """Find the worst median; memory that never came back is the worst."""
    return _worst(
        figures.median(
            bench.of(cell, method),
            lambda run: (
                float('inf') if run.back_seconds is None else run.back_seconds
            ),
        )
        for cell in bench.cells()
        for method in bench.methods(cell)
        if method != matrix.PLAIN
    )


_SHAPED = (1000,)
_EVERY = 'all that was measured'

#: Each limit the project has set itself.
BARS: tuple[Bar, ...] = (
    _compared('freed', False, _SHAPED, 'auto', 'seconds', 0.25),
    _compared('freed', False, _SHAPED, 'before', 'bytes', 0.07),
    _compared('cache-cold', True, _SHAPED, 'auto', 'seconds', 0.30),
    _compared('cache-cold', True, _SHAPED, 'before', 'bytes', 0.20),
    _compared('fragmented', True, _SHAPED, 'auto', 'seconds', 0.35),
    *(
        _compared('freed', True, (link,), 'auto', 'seconds', 1.03)
        for link in matrix.LINKS
    ),
    *(
        bar
        for name in ('fresh', 'full')
        for link in matrix.LINKS
        for bar in (
            _compared(name, None, (link,), 'auto', 'seconds', 1.03),
            _delay(name, (link,)),
        )
    ),
    Bar(
        'cache-hot',
        "reads lost in the 30 s after landing, auto, of plain's",
        0.05,
        '.1%',
        _reads_lost,
    ),
    Bar(_EVERY, 'OOM kills', 0, '.0f', _sum(lambda run: run.oom_kills)),
    Bar(
        _EVERY,
        'pages swapped out',
        0,
        '.0f',
        _sum(lambda run: run.swapped_out_pages),
    ),
    Bar(_EVERY, 's from landing to all memory back', 4, '.1f', _back),
    Bar(
        _EVERY,
        'guests that are not intact',
        0,
        '.0f',
        _sum(lambda run: bool(run.wrong)),
    ),
)

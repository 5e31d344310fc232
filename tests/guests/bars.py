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

"""What the plugin must not do to a guest, compared with what was measured.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import functools

from tests.bench.bars import Bar
from tests.bench.bars import Verdict
from tests.guests import arguments
from tests.guests.results import Guests
from tests.guests.results import Result

_LEAST_SHARE = 0.95  # Of the throughput of plain.
_MOST_P99 = 1.2  # Of the latency of plain.
_POSTGRESQL_BYTES = 0.6  # Of the bytes of plain.
_HARM: Mapping[str, Callable[[Result], int]] = {
    'killed': lambda one: one.killed,
    'failed allocations': lambda one: one.failed_allocations,
    'KiB swapped out': lambda one: one.swapped_out_kib,
    'guests that are not intact': lambda one: one.not_intact,
}


def judge(guests: Guests) -> list[Verdict]:
    """Compare every bar of every case with what was measured."""
    bars = _quick(guests) if guests.quick else _full(guests)
    return [Verdict(bar, bar.measure(guests)) for bar in bars]


def _full(guests: Guests) -> Iterator[Bar]:
    for case in guests.cases():
        yield from _harm(case)
        yield from _work(case)


def _quick(guests: Guests) -> Iterator[Bar]:
    """Make the bars of the plugin's runs, which have no plain ones beside."""
    for case in guests.cases():
        for what, count in _HARM.items():
            measure = functools.partial(_count, case, count)
            yield Bar(case, what, 0, '.0f', measure)
    # Else none of these could have been hurt.
    yield Bar('all', 'no release', 0, '.0f', _never_released)


def _harm(case: str) -> Iterator[Bar]:
    for what, count in _HARM.items():
        yield _more(case, what, count)


def _work(case: str) -> Iterator[Bar]:
    for when, pick in (
        ('during', lambda one: one.throughput_share_during),
        ('in the 60 s after', lambda one: one.throughput_share_after),
    ):
        yield _lost(case, f'throughput lost {when}', pick)
    yield _compared(
        case, 'p99 in the 60 s after', lambda one: one.p99_ms_after, _MOST_P99
    )
    if case == 'postgresql':
        yield _compared(
            case, 'bytes', lambda one: one.bytes_sent, _POSTGRESQL_BYTES
        )


def _both(case: str, guests: Guests) -> tuple[Result, Result] | None:
    plain = guests.result(case, arguments.PLAIN)
    freemem = guests.result(case, arguments.FREEMEM)
    return None if plain is None or freemem is None else (plain, freemem)


def _count(
    case: str, count: Callable[[Result], int], guests: Guests
) -> float | None:
    freemem = guests.result(case, arguments.FREEMEM)
    return None if freemem is None else count(freemem)


def _never_released(guests: Guests) -> float:
    lines = [line for run in guests.runs for line in run.told]
    return float(not any(line.startswith('Released ') for line in lines))


def _more(case: str, what: str, count: Callable[[Result], int]) -> Bar:
    """Make a bar of what may not happen because of the plugin."""

    def measure(guests: Guests) -> float | None:
        both = _both(case, guests)
        if both is None:
            return None
        plain, freemem = map(count, both)
        return max(0, freemem - plain)

    return Bar(case, f'{what}, more than plain', 0, '.0f', measure)


def _compared(
    case: str,
    what: str,
    pick: Callable[[Result], float | None],
    limit: float,
) -> Bar:
    """Make a bar of a figure, as a share of plain's."""
    return Bar(
        case,
        f"{what}, of plain's",
        limit,
        '.0%',
        lambda guests: _share(_both(case, guests), pick),
    )


def _lost(case: str, what: str, pick: Callable[[Result], float | None]) -> Bar:
    """Make a bar of what is missing to plain's figure."""

    def measure(guests: Guests) -> float | None:
        share = _share(_both(case, guests), pick)
        return None if share is None else 1 - share

    return Bar(case, f"{what}, of plain's", 1 - _LEAST_SHARE, '.1%', measure)


def _share(
    both: tuple[Result, Result] | None,
    pick: Callable[[Result], float | None],
) -> float | None:
    plain, freemem = map(pick, both) if both else (None, None)
    return None if freemem is None or not plain else freemem / plain

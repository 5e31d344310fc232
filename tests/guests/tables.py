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

"""The tables: for a terminal and for the manual; pure."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.tables import MISSING
from tests.bench.tables import Table
from tests.bench.tables import once
from tests.bench.tables import verdicts
from tests.guests import arguments
from tests.guests import bars
from tests.guests import cases
from tests.guests.results import Guests
from tests.guests.results import Result

# Of the machine, what the figures depend on.
_FACTS = ('processors', 'guests run by', 'QEMU', 'libvirt', 'Nova')

# Makes the entries of a row: of a result, and of plain's of the same case.
_Read = Callable[[Result, Result | None], tuple[str, ...]]


def described(guests: Guests) -> Table:
    """Say what the guests are."""
    return Table(
        'The guests',
        ('case', 'a guest with', 'memory, MiB'),
        tuple(
            (
                name,
                cases.CASES[name].about,
                str(cases.CASES[name].memory_mib),
            )
            for name in guests.cases()
        ),
    )


def migrations(guests: Guests) -> Table:
    """Show what the migrations cost, and what they did to the guests."""
    return Table(
        'What hurts a guest (sums), and what the migration costs (medians)',
        (
            'case',
            'method',
            'rounds',
            'killed',
            'failed allocations',
            'KiB swapped out',
            'KiB read again',
            'seconds',
            'MB sent',
            '/ plain',
        ),
        _rows(
            guests,
            lambda one, plain: (
                str(one.rounds),
                str(one.killed),
                str(one.failed_allocations),
                str(one.swapped_out_kib),
                f'{one.refaulted_kib:,}',
                f'{one.seconds:.1f}',
                f'{one.bytes_sent / 1e6:,.0f}',
                _share(one.bytes_sent, plain and plain.bytes_sent),
            ),
        ),
    )


def work(guests: Guests) -> Table:
    """Show what became of the guests' work."""
    return Table(
        'The work of the guest (medians): throughput as a share of that before'
        ' the migration, and the 99th percentile of the latency',
        (
            'case',
            'method',
            'throughput during',
            'work lost, s',
            'throughput after',
            'p99 before, ms',
            'p99 during, ms',
            'p99 after, ms',
            'p99 after / plain',
        ),
        _rows(
            guests,
            lambda one, plain: (
                _percent(one.throughput_share_during),
                _to_a_tenth(one.lost_seconds),
                _percent(one.throughput_share_after),
                _to_a_tenth(one.p99_ms_before),
                _to_a_tenth(one.p99_ms_during),
                _to_a_tenth(one.p99_ms_after),
                _share(one.p99_ms_after, plain and plain.p99_ms_after),
            ),
        ),
    )


def unable(guests: Guests) -> list[Table]:
    """Show which method cannot migrate which guest; nothing if all can."""
    if not guests.unable:
        return []
    rows = tuple((one.case, one.method, one.why) for one in guests.unable)
    return [Table('What a method cannot do', ('case', 'method', 'why'), rows)]


def judged(guests: Guests) -> Table:
    """Show what must hold, and whether it does."""
    return verdicts('What must hold', 'case', bars.judge(guests))


def surroundings(guests: Guests) -> Table:
    """Show what it was measured on."""
    loads = sorted(run.load for run in guests.runs)
    facts = {
        'started': guests.started,
        'failed runs': str(len(guests.failures)),
        'load of the machine': f'{loads[0]:.1f} to {loads[-1]:.1f}',
        **{
            name: value
            for name, value in guests.machine.items()
            if name in _FACTS
        },
    }
    return Table('Measured on', ('what', 'which'), tuple(facts.items()))


def _rows(guests: Guests, read: _Read) -> tuple[tuple[str, ...], ...]:
    names = once(one.case for one in guests.results)
    return tuple(
        (
            name,
            one.method,
            *read(one, guests.result(one.case, arguments.PLAIN)),
        )
        for name, one in zip(names, guests.results, strict=True)
    )


def _percent(share: float | None) -> str:
    return MISSING if share is None else f'{share:.0%}'


def _to_a_tenth(figure: float | None) -> str:
    return MISSING if figure is None else f'{figure:.1f}'


def _share(part: float | None, whole: float | None) -> str:
    return MISSING if part is None or not whole else f'{part / whole:.2f}'

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

"""The tables, as rows of words: for a terminal and for the manual; pure."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

from rich import table as rich_table

from tests.bench import bars
from tests.bench import figures
from tests.bench import matrix
from tests.bench import scenarios
from tests.bench.results import Bench
from tests.bench.results import Run

_MISSING = '-'


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first columns are words, and whose others are figures.

    :param words: how many columns are words.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int


def measured(bench: Bench) -> list[Table]:
    """Show what was measured: two tables for each link."""
    links = dict.fromkeys(
        cell.migration_bandwidth_mbps for cell in bench.cells()
    )
    return [
        make(
            bench,
            [
                cell
                for cell in bench.cells()
                if cell.migration_bandwidth_mbps == link
            ],
        )
        for link in links
        for make in (_costs, _effects)
    ]


def _costs(bench: Bench, cells: Sequence[matrix.Cell]) -> Table:
    """Show what the migrations cost."""
    return _table(
        bench,
        cells,
        'what a migration costs',
        (
            'seconds',
            '/ plain',
            'MB sent',
            '/ plain',
            'delay, ms',
            'downtime, ms',
            'RSS before, MiB',
            'CPU, s',
        ),
        lambda cell, method, runs: (
            _spread(runs, figures.seconds, '.1f'),
            _ratio(bench, cell, method, figures.seconds),
            _spread(runs, figures.megabytes, ',.0f'),
            _ratio(bench, cell, method, figures.megabytes),
            _spread(runs, lambda run: run.delay_seconds * 1000, ',.0f'),
            _spread(runs, lambda run: run.downtime_ms, ',.0f'),
            _median(runs, lambda run: run.rss_before_kib / 1024, ',.0f'),
            _median(runs, lambda run: run.cpu_seconds, '.2f'),
        ),
    )


def _effects(bench: Bench, cells: Sequence[matrix.Cell]) -> Table:
    """Show what the guest noticed."""
    return _table(
        bench,
        cells,
        'what the guest notices',
        (
            'memory back, s',
            'its work during',
            'its work after',
            'pages read again',
            'OOM kills',
            'swapped out',
            'intact',
        ),
        lambda _cell, _method, runs: (
            _spread(runs, lambda run: run.back_seconds, '.1f'),
            _median(runs, figures.pace_during, '.0%'),
            _median(runs, figures.pace_after, '.0%'),
            _median(runs, lambda run: run.refaulted_pages, ',.0f'),
            str(sum(run.oom_kills for run in runs)),
            str(sum(run.swapped_out_pages for run in runs)),
            f'{sum(not run.wrong for run in runs)} of {len(runs)}',
        ),
    )


def _table(
    bench: Bench,
    cells: Sequence[matrix.Cell],
    title: str,
    headings: tuple[str, ...],
    read: Callable[[matrix.Cell, str, Sequence[Run]], tuple[str, ...]],
) -> Table:
    rows = []
    for cell in cells:
        guest = cell.guest
        for method in bench.methods(cell):
            runs = bench.of(cell, method)
            rows.append((guest, method, *read(cell, method, runs)))
            guest = ''  # Said once.
    return Table(
        f'{cells[0].link}: {title} (medians, least and most of'
        f' {bench.rounds})',
        ('guest', 'method', *headings),
        tuple(rows),
        words=2,
    )


def judged(bench: Bench) -> Table:
    """Show what must be reached, and whether it is."""
    return Table(
        'What must be reached',
        ('where', 'what', 'at most', 'measured', 'verdict'),
        tuple(
            (
                one.bar.where,
                one.bar.what,
                format(one.bar.limit, one.bar.form),
                _MISSING
                if one.figure is None
                else format(one.figure, one.bar.form),
                one.word,
            )
            for one in bars.judge(bench)
        ),
        words=2,
    )


def surroundings(bench: Bench) -> Table:
    """Show what it was measured on."""
    facts = {
        'started': bench.started,
        'guest': f'{bench.memory_mib} MiB',
        'rounds': str(bench.rounds),
        'failed runs': str(len(bench.failures)),
        **bench.machine,
        **{
            f'{link} link, by the plugin': rate
            for link, rate in bench.learnt_mbit.items()
        },
    }
    return Table(
        'Measured on', ('what', 'which'), tuple(facts.items()), words=2
    )


def situations(bench: Bench) -> Table:
    """Say what the guests had done, and did."""
    names = dict.fromkeys(cell.scenario for cell in bench.cells())
    return Table(
        'The guests',
        ('scenario', 'a guest that'),
        tuple((name, scenarios.SCENARIOS[name].about) for name in names),
        words=2,
    )


def for_terminal(table: Table) -> rich_table.Table:
    """Make a table that rich prints."""
    shown = rich_table.Table(title=table.title)
    for number, heading in enumerate(table.headings):
        shown.add_column(
            heading, justify='left' if number < table.words else 'right'
        )
    for row in table.rows:
        if row[0] and shown.row_count and table.headings[0] == 'guest':
            shown.add_section()
        shown.add_row(*(_coloured(word) for word in row))
    return shown


def for_manual(table: Table) -> str:
    """Write a table as reStructuredText."""
    lines = [f'.. list-table:: {table.title}', '   :header-rows: 1', '']
    for row in (table.headings, *table.rows):
        for number, word in enumerate(row):
            bullet = '   * -' if number == 0 else '     -'
            lines.append(f'{bullet} {word}'.rstrip())
    return '\n'.join(lines) + '\n'


def _coloured(word: str) -> str:
    colour = {'met': 'green', 'missed': 'red'}.get(word)
    return f'[{colour}]{word}[/{colour}]' if colour else word


def _median(runs: Sequence[Run], pick: figures.Pick, form: str) -> str:
    value = figures.median(runs, pick)
    return _MISSING if value is None else format(value, form)


def _spread(runs: Sequence[Run], pick: figures.Pick, form: str) -> str:
    found = figures.spread(runs, pick)
    if found is None:
        return _MISSING
    middle = format(found.median, form)
    if found.count == 1:
        return middle
    return f'{middle} ({found.least:{form}}-{found.most:{form}})'


def _ratio(
    bench: Bench, cell: matrix.Cell, method: str, pick: figures.Pick
) -> str:
    if method == matrix.PLAIN:
        return '1'
    share = figures.to_plain(bench, cell, method, pick)
    return _MISSING if share is None else f'{share:.3f}'

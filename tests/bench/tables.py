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

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import textwrap

from rich import text as rich_text
import tabulate

from tests.bench import bars
from tests.bench import figures
from tests.bench import matrix
from tests.bench import scenarios
from tests.bench.results import Bench
from tests.bench.results import Run

#: Stands where there is no figure.
MISSING = 'n/a'

# Of each table, these columns are words, and the others are figures.
_WORDS = 2

# Makes an entry of a column: of the runs of a method in a situation.
_Read = Callable[[Sequence[Run]], str]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first two columns are words, and whose others figures."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def lay_out(self, form: str) -> str:
        """Write it in one of the formats that tabulate knows."""
        figures = len(self.headings) - _WORDS
        return tabulate.tabulate(
            self.rows,
            self.headings,
            tablefmt=form,
            disable_numparse=True,
            colalign=('left',) * _WORDS + ('right',) * figures,
        )


def for_terminal(table: Table) -> rich_text.Text:
    """Write a table for a terminal."""
    text = rich_text.Text(f'{table.title}\n\n{table.lay_out("simple")}\n')
    text.highlight_regex(r'(?m)\bmet$', 'green')
    text.highlight_regex(r'(?m)\bmissed$', 'red')
    return text


def for_manual(table: Table) -> str:
    """Write a table as reStructuredText."""
    body = textwrap.indent(table.lay_out('rst'), ' ' * 3)
    return f'.. table:: {table.title}\n\n{body}\n'


def once(guests: Iterable[str]) -> list[str]:
    """Name each guest in the first of its rows only."""
    shown, last = [], ''
    for guest in guests:
        shown.append('' if guest == last else guest)
        last = guest
    return shown


def measured(bench: Bench) -> list[Table]:
    """Show what was measured: two tables for each bandwidth."""
    return [
        make(bench, cells)
        for cells in _by_bandwidth(bench)
        for make in (_costs, _effects)
    ]


def ways(bench: Bench) -> list[Table]:
    """Show what a user would choose by: one table for each bandwidth."""
    return [
        _table(
            bench,
            cells,
            'each way',
            (
                ('seconds', _spread(figures.seconds, '.1f')),
                ('/ plain', _ratio(bench, figures.seconds)),
                ('/ oracle', _to_oracle(bench)),
                ('MB sent', _median(figures.megabytes, ',.0f')),
                ('/ plain', _ratio(bench, figures.megabytes)),
                ('restored, s', _median(lambda run: run.back_seconds, '.1f')),
            ),
        )
        for cells in _by_bandwidth(bench)
    ]


def _by_bandwidth(bench: Bench) -> list[list[matrix.Cell]]:
    bandwidths = dict.fromkeys(cell.bandwidth for cell in bench.cells())
    return [
        [cell for cell in bench.cells() if cell.bandwidth == bandwidth]
        for bandwidth in bandwidths
    ]


def _costs(bench: Bench, cells: Sequence[matrix.Cell]) -> Table:
    """Show what the migrations cost."""
    return _table(
        bench,
        cells,
        'what a migration costs',
        (
            ('seconds', _spread(figures.seconds, '.1f')),
            ('/ plain', _ratio(bench, figures.seconds)),
            ('/ oracle', _to_oracle(bench)),
            ('MB sent', _spread(figures.megabytes, ',.0f')),
            ('/ plain', _ratio(bench, figures.megabytes)),
            ('delay, ms', _spread(figures.delay_ms, ',.0f')),
            ('downtime, ms', _spread(lambda run: run.downtime_ms, ',.0f')),
            (
                'RSS before, MiB',
                _median(lambda run: run.rss_before_kib / 1024, ',.0f'),
            ),
            ('CPU, s', _median(lambda run: run.cpu_seconds, '.2f')),
        ),
    )


def _effects(bench: Bench, cells: Sequence[matrix.Cell]) -> Table:
    """Show what the guest notices."""
    return _table(
        bench,
        cells,
        'what the guest notices',
        (
            (
                'memory restored, s',
                _spread(lambda run: run.back_seconds, '.1f'),
            ),
            ('its work during', _median(figures.pace_during, '.0%')),
            ('its work after', _median(figures.pace_after, '.0%')),
            (
                'pages read again',
                _median(lambda run: run.refaulted_pages, ',.0f'),
            ),
            ('OOM kills', _sum(lambda run: run.oom_kills)),
            ('pages swapped out', _sum(lambda run: run.swapped_out_pages)),
            ('intact', _intact),
        ),
    )


def _table(
    bench: Bench,
    cells: Sequence[matrix.Cell],
    title: str,
    columns: Sequence[tuple[str, _Read]],
) -> Table:
    shown = [(cell, name) for cell in cells for name in bench.methods(cell)]
    guests = once(cell.guest for cell, _ in shown)
    return Table(
        f'{cells[0].bandwidth}: {title} (medians, least and most of'
        f' {bench.rounds})',
        ('guest', 'method', *(heading for heading, _ in columns)),
        tuple(
            (guest, name, *(read(bench.of(cell, name)) for _, read in columns))
            for guest, (cell, name) in zip(guests, shown, strict=True)
        ),
    )


def judged(bench: Bench) -> Table:
    """Show what must be reached, and whether it is."""
    return verdicts('What must be reached', 'where', bars.judge(bench))


def verdicts(title: str, where: str, judged: Iterable[bars.Verdict]) -> Table:
    """Show limits, what was measured, and whether it is within them.

    :param where: the heading of the first column.
    """
    return Table(
        title,
        (where, 'what', 'at most', 'measured', 'verdict'),
        tuple(
            (
                one.bar.where,
                one.bar.what,
                one.bar.say(one.bar.limit),
                MISSING if one.figure is None else one.bar.say(one.figure),
                one.word,
            )
            for one in judged
        ),
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
            f'bandwidth the plugin assumed, {name}': assumed
            for name, assumed in bench.assumed_bandwidths.items()
        },
    }
    return Table('Measured on', ('what', 'which'), tuple(facts.items()))


def situations(bench: Bench) -> Table:
    """Say what the guests had done, and did."""
    names = dict.fromkeys(cell.scenario for cell in bench.cells())
    return Table(
        'The guests',
        ('scenario', 'a guest that'),
        tuple((name, scenarios.SCENARIOS[name].about) for name in names),
    )


def needed(bench: Bench) -> Table:
    """Show what an oracle would have done; see :mod:`tests.bench.oracle`."""
    found = [
        (cell, one)
        for cell in bench.cells()
        if (one := figures.foretold(bench, cell)) is not None
    ]
    guests = once(cell.guest for cell, _ in found)
    return Table(
        'An oracle: the longest of three things done at the same time',
        (
            *('guest', 'path', 'needed, MB', 'sending it, s'),
            *('looking for it, s', 'dropping cache, s', 'oracle, s'),
        ),
        tuple(
            (
                guest,
                cell.bandwidth,
                f'{one.needed_mib * 1.048576:,.0f}',
                f'{one.send_seconds:.1f}',
                f'{one.look_seconds:.1f}',
                f'{one.drop_seconds:.1f}',
                f'{one.seconds:.1f}',
            )
            for guest, (cell, one) in zip(guests, found, strict=True)
        ),
    )


def unable(bench: Bench) -> list[Table]:
    """Show which method cannot migrate which guest; nothing if all can."""
    if not bench.unable:
        return []
    return [
        Table(
            'What a method cannot do',
            ('guest', 'method', 'why'),
            tuple(
                (str(one.cell), one.method, one.why) for one in bench.unable
            ),
        )
    ]


def _median(pick: figures.Pick, form: str) -> _Read:
    def read(runs: Sequence[Run]) -> str:
        value = figures.median(runs, pick)
        return MISSING if value is None else format(value, form)

    return read


def _sum(count: Callable[[Run], int]) -> _Read:
    return lambda runs: str(sum(map(count, runs)))


def _intact(runs: Sequence[Run]) -> str:
    return f'{sum(not run.wrong for run in runs)} of {len(runs)}'


def _spread(pick: figures.Pick, form: str) -> _Read:
    return lambda runs: say(figures.spread(runs, pick), form)


def _ratio(bench: Bench, pick: figures.Pick) -> _Read:
    def read(runs: Sequence[Run]) -> str:
        cell, method = runs[0].cell, runs[0].method
        if method == matrix.PLAIN:
            return '1'
        share = figures.to_plain(bench, cell, method, pick)
        return MISSING if share is None else f'{share:.3f}'

    return read


def _to_oracle(bench: Bench) -> _Read:
    def read(runs: Sequence[Run]) -> str:
        share = figures.to_oracle(bench, runs[0].cell, runs[0].method)
        return MISSING if share is None else f'{share:.1f}'

    return read


def say(found: figures.Spread | None, form: str) -> str:
    """Write a median, and how far the runs lie apart where there are some."""
    if found is None:
        return MISSING
    middle = format(found.median, form)
    if found.count == 1:
        return middle
    return f'{middle} ({found.least:{form}}-{found.most:{form}})'

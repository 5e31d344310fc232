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


"""The matrix as a table: for a terminal and for the manual; pure."""

import dataclasses

from rich import table as rich_table

from tests.chaos import kinds
from tests.chaos import matrix
from tests.chaos import phases
from tests.chaos import verdict
from tests.chaos.matrix import Cell
from tests.chaos.record import Findings
from tests.chaos.record import Record
from tests.chaos.soak import Soak


@dataclasses.dataclass(frozen=True)
class Grid:
    """Rows of faults, columns of phases, and why cells are left out.

    :param columns: the phases, in the order of a migration.
    :param rows: a fault's name for people, and a word for each phase.
    :param notes: what the numbers of left-out cells mean.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def grid(findings: Findings) -> Grid:
    """Lay out what was found."""
    records = {one.cell: one for one in findings.records}
    failed = {one.cell for one in findings.failures}
    left_out = matrix.left_out()
    reasons = list(dict.fromkeys(left_out.values()))

    def word(cell: Cell) -> str:
        if cell in left_out:
            return f'[{reasons.index(left_out[cell]) + 1}]'
        if cell in records:
            return _found(records[cell], findings)
        return 'came to nothing' if cell in failed else 'not run'

    return Grid(
        columns=tuple(phase.word for phase in phases.PHASES),
        rows=tuple(
            (
                kind.about,
                *(word(Cell(phase, kind.name)) for phase in phases.PHASES),
            )
            for kind in kinds.KINDS.values()
        ),
        notes=tuple(reasons),
    )


def _found(record: Record, findings: Findings) -> str:
    judged = verdict.judge(record, findings.plain)
    if judged.wrong:
        return f'LOST: {judged.went}'
    remarks = [
        f' ({word})'
        for word, is_so in (
            ('missed', judged.missed),
            ('lost without it too', judged.by_itself),
            ('worse', judged.worse),
            ('refused', record.refused),
        )
        if is_so
    ]
    whole = record.whole_seconds
    seconds = '' if whole is None else f' {whole:.1f} s'
    return f'{judged.went}{seconds}{"".join(remarks)}'


def losses(findings: Findings) -> list[tuple[Cell, tuple[str, ...]]]:
    """List the cells in which something was lost, and what.

    A migration that Nova by itself would have ended better counts as well.
    """
    found = []
    for one in findings.records:
        judged = verdict.judge(one, findings.plain)
        wrong = (*judged.wrong, *judged.worse)
        if wrong:
            found.append((one.cell, (*wrong, *one.told)))
    return found


def summary(findings: Findings) -> str:
    """Count the cells, in one sentence."""
    words = [
        verdict.judge(one, findings.plain).word for one in findings.records
    ]
    to_run = len(matrix.cells())
    return (
        f'{len(words)} of {to_run} cells run: {words.count("whole")} whole,'
        f' {words.count("lost")} with a loss,'
        f' {words.count("lost by itself")} with one that is there without the'
        f' plugin too, {words.count("worse")} that Nova by itself ends better,'
        f' {words.count("missed")} where the fault missed its phase;'
        f' {len(findings.failures)} came to nothing;'
        f' {len(matrix.left_out())} are left out.'
    )


def for_terminal(shown: Grid) -> rich_table.Table:
    """Make a table that rich prints: phases that anything was found in."""
    used = [
        number
        for number in range(1, len(shown.columns) + 1)
        if any(_is_found(row[number]) for row in shown.rows)
    ]
    table = rich_table.Table(title='Seconds from the fault until whole')
    for heading in ('fault', *(shown.columns[one - 1] for one in used)):
        table.add_column(heading)
    for row in shown.rows:
        words = [row[number] for number in used]
        if any(map(_is_found, words)):
            table.add_row(row[0], *map(_coloured, words))
    return table


def for_soak(result: Soak) -> rich_table.Table:
    """Make a table of what the computes took, that rich prints."""
    table = rich_table.Table(title='nova-compute in the soak')
    for heading in ('host', 'when', 'RSS, KiB', 'threads'):
        table.add_column(heading)
    for moment, hosts in result.computes.items():
        for host, process in hosts.items():
            figures = (f'{process.rss_kib:,}', str(process.threads))
            table.add_row(host, moment, *figures)
    return table


def _is_found(word: str) -> bool:
    return word != 'not run' and not word.startswith('[')


def _coloured(word: str) -> str:
    if word.startswith('['):
        return f'\\{word}'
    is_bad = word.startswith(('LOST', 'came'))
    return f'[red]{word}[/red]' if is_bad else word


def for_manual(findings: Findings) -> str:
    """Write it as reStructuredText."""
    shown = grid(findings)
    lines = ['.. Made by tools/chaos.sh --matrix --rst: not to be edited.', '']
    lines += [summary(findings), '']
    lines += ['.. list-table:: Outcome, and seconds until the guest was whole']
    lines += ['   :header-rows: 1', '   :stub-columns: 1', '']
    for row in (('fault', *shown.columns), *shown.rows):
        for number, word in enumerate(row):
            lines.append(f'   * - {word}' if not number else f'     - {word}')
    lines += ['', 'Left out, because', '']
    for number, why in enumerate(shown.notes, 1):
        lines.append(f'* [{number}]: {why}')
    lines += ['', 'Found on:', '']
    lines += [f'* {what}: {which}' for what, which in findings.machine.items()]
    return '\n'.join(lines) + '\n'

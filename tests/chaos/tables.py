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

import tabulate

from tests.chaos import kinds
from tests.chaos import matrix
from tests.chaos import phases
from tests.chaos import verdict
from tests.chaos.matrix import Cell
from tests.chaos.record import Findings
from tests.chaos.record import Record
from tests.chaos.soak import Soak


def losses(findings: Findings) -> list[tuple[Cell, tuple[str, ...]]]:
    """List the cells in which something was lost, and what.

    A migration that Nova without the plugin would have ended better counts
    as well.
    """
    found = []
    for one in findings.records:
        judged = verdict.judge(one, findings.without_plugin)
        wrong = (*judged.wrong, *judged.worse)
        if wrong:
            found.append((one.cell, (*wrong, *one.warnings)))
    return found


def summary(findings: Findings) -> str:
    """Count the cells, in one sentence."""
    words = [
        verdict.judge(one, findings.without_plugin).word
        for one in findings.records
    ]
    return (
        f'{len(words)} of {len(matrix.cells())} cells run:'
        f' {words.count(verdict.WHOLE)} whole,'
        f' {words.count(verdict.LOST)} with a loss,'
        f' {words.count(verdict.LOST_WITHOUT)} with a loss that occurs'
        ' without the plugin too,'
        f' {words.count(verdict.WORSE)} that Nova without the plugin ends'
        ' better,'
        f' {words.count(verdict.MISSED)} in which the fault missed its phase;'
        f' {len(findings.inconclusive)} inconclusive;'
        f' {len(matrix.left_out())} left out.'
    )


def for_terminal(findings: Findings) -> str:
    """Make a table of the cells that were run or are inconclusive."""
    outcomes = _outcomes(findings)
    rows = {cell.fault for cell in outcomes}
    columns = {cell.phase for cell in outcomes}
    return tabulate.tabulate(
        [
            [
                kind.about,
                *(
                    outcomes.get(Cell(phase, kind.name), '')
                    for phase in sorted(columns)
                ),
            ]
            for kind in kinds.KINDS.values()
            if kind.name in rows
        ],
        ['fault', *(phase.word for phase in sorted(columns))],
    )


def for_manual(findings: Findings) -> str:
    """Make a table of all cells, as reStructuredText."""
    reasons = list(dict.fromkeys(matrix.left_out().values()))
    outcomes = {
        cell: f'[{reasons.index(why) + 1}]'
        for cell, why in matrix.left_out().items()
    } | _outcomes(findings)
    rows = [
        [
            kind.about,
            *(
                outcomes.get(Cell(phase, kind.name), 'not run')
                for phase in phases.PHASES
            ),
        ]
        for kind in kinds.KINDS.values()
    ]
    headings = ['fault', *(phase.word for phase in phases.PHASES)]
    notes = [f'* [{number}]: {why}' for number, why in enumerate(reasons, 1)]
    machine = [
        f'* {what}: {which}' for what, which in findings.machine.items()
    ]
    parts = (
        '.. Made by tools/chaos.sh --matrix --rst: not to be edited.',
        summary(findings),
        'Outcome, and seconds from the fault until the guest was whole:',
        tabulate.tabulate(rows, headings, tablefmt='rst'),
        _headrooms(findings),
        'Left out, because',
        '\n'.join(notes),
        'Found on:',
        '\n'.join(machine),
    )
    return '\n\n'.join(parts) + '\n'


def _headrooms(findings: Findings) -> str:
    """Tell for how long guests were below their headroom."""
    noted = [one for one in findings.records if one.headrooms]
    below = [
        (
            max(one.below_seconds for one in record.headrooms),
            min(one.least_available_kib for one in record.headrooms) // 1024,
            record.cell,
        )
        for record in noted
    ]
    rows = [
        [cell.kind.about, cell.phase.word, f'{seconds:.1f}', mib]
        for seconds, mib, cell in sorted(below, reverse=True)
        if seconds
    ]
    text = (
        f'Available memory was noted by the guests of {len(noted)} cells. In'
        f' {len(noted) - len(rows)} of them it was never less than the'
        ' headroom.'
    )
    if not rows:
        return text
    headings = (
        'fault',
        'phase',
        'seconds below headroom',
        'least available, MiB',
    )
    table = tabulate.tabulate(
        rows, headings, tablefmt='rst', disable_numparse=True
    )
    return (
        f'{text} In the others, with the longest time of any guest:\n\n{table}'
    )


def for_soak(result: Soak) -> str:
    """Make a table of the memory and the threads of both nova-computes."""
    return tabulate.tabulate(
        [
            (host, moment, f'{process.rss_kib:,}', process.threads)
            for moment, hosts in result.computes.items()
            for host, process in hosts.items()
        ],
        ('nova-compute', 'when', 'RSS, KiB', 'threads'),
        colalign=('left', 'left', 'right', 'right'),
        disable_numparse=True,
    )


def _outcomes(findings: Findings) -> dict[Cell, str]:
    """Describe what was found in a few words."""
    return {
        **{one.cell: 'inconclusive' for one in findings.inconclusive},
        **{one.cell: _outcome(one, findings) for one in findings.records},
    }


def _outcome(record: Record, findings: Findings) -> str:
    judged = verdict.judge(record, findings.without_plugin)
    if judged.wrong:
        return f'LOST: {judged.went}'
    remarks = [
        f' ({word})'
        for word, is_so in (
            ('missed', judged.missed),
            ('lost without it too', judged.lost_without),
            ('worse', judged.worse),
            ('refused', record.refused),
        )
        if is_so
    ]
    remarks += [f' ({remark})' for remark in record.remarks]
    whole = record.whole_seconds
    seconds = '' if whole is None else f' {whole:.1f} s'
    return f'{judged.went}{seconds}{"".join(remarks)}'

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

"""Draws what was measured: time and bytes, the bars, the guest's work."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import pathlib
import statistics
import textwrap

import matplotlib as mpl
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import patches

from tests.bench import bars
from tests.bench import figures
from tests.bench import matrix
from tests.bench import oracle
from tests.bench import scenarios
from tests.bench.results import Bench
from tests.bench.results import Run

# Colours that people who see no red and green can tell apart (Okabe and Ito),
# in grey as well.
_COLOURS = {
    'plain': '#555555',
    'before': '#e69f00',
    'during': '#56b4e9',
    'auto': '#0072b2',
    # Of the others, those that a guest notices.
    'free-page-hint': '#009e73',
    'fixed-minimum': '#cc79a7',
    'auto-converge': '#f0e442',
    'post-copy': '#d55e00',
}
_KINDS = {
    'without the plugin': (_COLOURS['plain'], (matrix.PLAIN,)),
    'the plugin': (_COLOURS['auto'], matrix.OURS),
    'another way': (_COLOURS['before'], matrix.PEERS),
}
_MET, _MISSED = '#0072b2', '#d55e00'

# The same figures make the same file.
_STYLE = {'svg.fonttype': 'none', 'svg.hashsalt': 'bench'}

_BAR_HEIGHT = 0.8  # Of the height of a row.
_HEADING_ROWS = 2  # What a situation's description takes.
_WORK_LEAD_SECONDS = 6.0
_MOST_SHARE = 2.0  # Of a limit: where bars are cut off.
_DPI = 110


def draw(bench: Bench, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draw everything.

    :param folder: where the PNGs go.
    :returns: the files.
    """
    made = []
    for mbps in dict.fromkeys(
        c.migration_bandwidth_mbps for c in bench.cells()
    ):
        speed = 'unlimited' if mbps is None else f'{mbps}mbit'
        cells = [
            c for c in bench.cells() if c.migration_bandwidth_mbps == mbps
        ]
        for name, render in (('migration', _costs), ('work', _work)):
            file = folder / f'{name}-{speed}.png'
            render(bench, cells).savefig(file, dpi=_DPI)
            made.append(file)
    file = folder / 'bars.png'
    _bars(bench).savefig(file, dpi=_DPI)
    return [*made, file]


def draw_for_manual(bench: Bench, file: pathlib.Path) -> None:
    """Draw what migrations cost, over the first path of all, into an SVG."""
    path, *_others = (c.migration_bandwidth_mbps for c in bench.cells())
    cells = [c for c in bench.cells() if c.migration_bandwidth_mbps == path]
    with mpl.rc_context(_STYLE):
        _costs(bench, cells).savefig(
            file, format='svg', metadata={'Date': None}
        )


def _heading(bench: Bench, bandwidth: str) -> str:
    return (
        f'Live migration of a guest of {bench.memory_mib} MiB,'
        f' bandwidth: {bandwidth}, {bench.machine["guests run by"]}'
    )


# --- what migrations cost


@dataclasses.dataclass(frozen=True)
class _Group:
    """A situation in a picture of costs.

    :param top: the first row of its description.
    :param methods: in their order, one row each after the description.
    """

    cell: matrix.Cell
    top: int
    methods: tuple[str, ...]

    def rows(self) -> Iterator[tuple[int, str]]:
        """Tell which method is in which row."""
        return enumerate(self.methods, self.top + _HEADING_ROWS)

    @property
    def end(self) -> int:
        """The first row after it."""
        return self.top + _HEADING_ROWS + len(self.methods)


def _groups(bench: Bench, cells: Sequence[matrix.Cell]) -> list[_Group]:
    """Put situations below each other, with what was and cannot be done."""
    groups: list[_Group] = []
    for cell in cells:
        methods = tuple(
            name
            for name in matrix.METHODS
            if bench.of(cell, name) or bench.is_unable(cell, name)
        )
        groups.append(_Group(cell, groups[-1].end if groups else 0, methods))
    return groups


def _costs(bench: Bench, cells: Sequence[matrix.Cell]) -> mpl_figure.Figure:
    """Draw seconds and bytes of each situation and method."""
    groups = _groups(bench, cells)
    figure = mpl_figure.Figure(
        figsize=(12, 1.6 + 0.24 * groups[-1].end), layout='constrained'
    )
    figure.suptitle(
        f'{_heading(bench, cells[0].bandwidth)}\n'
        f'bars: medians of up to {bench.rounds} rounds; dots: single runs;'
        ' dotted: an oracle',
        fontweight='bold',
    )
    panels = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for panel, title, pick, least, form in (
        (
            panels[0],
            'Seconds to the end of the migration',
            figures.seconds,
            lambda one: one.seconds,
            '.1f',
        ),
        (
            panels[1],
            'GB sent',
            lambda run: run.bytes_sent / 1e9,
            lambda one: one.needed_mib * (1 << 20) / 1e9,
            '.2f',
        ),
    ):
        _draw_costs(panel, bench, groups, pick, form)
        _draw_least(panel, bench, groups, least)
        panel.set_title(title, loc='left', fontsize='medium')
    for group in groups:
        panels[0].annotate(
            _described(group.cell),
            (0, group.top + (_HEADING_ROWS - 1) / 2),
            (4, 0),
            textcoords='offset points',
            va='center',
            fontsize='small',
            fontweight='bold',
        )
    rows = [row for group in groups for row in group.rows()]
    panels[0].set_yticks(
        [number for number, _ in rows], [name for _, name in rows]
    )
    panels[0].set_ylim(groups[-1].end - 0.5, -0.5)
    figure.legend(
        handles=[
            patches.Patch(color=colour, label=label)
            for label, (colour, _) in _KINDS.items()
        ],
        loc='outside lower center',
        ncols=len(_KINDS),
    )
    return figure


def _draw_costs(
    panel: mpl_axes.Axes,
    bench: Bench,
    groups: Sequence[_Group],
    pick: Callable[[Run], float],
    form: str,
) -> None:
    colours = {
        name: colour for colour, names in _KINDS.values() for name in names
    }
    longest = 0.0
    for group in groups:
        for row, method in group.rows():
            values = [pick(run) for run in bench.of(group.cell, method)]
            if not values:
                _say(panel, 'cannot', 0.0, row)
                continue
            middle = statistics.median(values)
            panel.barh(row, middle, _BAR_HEIGHT, color=colours[method])
            if len(values) > 1:
                panel.plot(
                    values,
                    [row] * len(values),
                    'o',
                    markersize=3.5,
                    markerfacecolor='white',
                    markeredgecolor='black',
                    markeredgewidth=0.6,
                )
            _say(panel, format(middle, form), max(values), row)
            longest = max(longest, *values)
    panel.set_xlim(0, longest * 1.12)
    panel.grid(axis='x', alpha=0.3)
    panel.set_axisbelow(True)


def _say(panel: mpl_axes.Axes, text: str, at: float, row: int) -> None:
    """Write something at the end of a bar."""
    panel.annotate(
        text,
        (at, row),
        (6, 0),
        textcoords='offset points',
        va='center',
        fontsize='small',
    )


def _draw_least(
    panel: mpl_axes.Axes,
    bench: Bench,
    groups: Sequence[_Group],
    pick: Callable[[oracle.Oracle], float],
) -> None:
    """Draw what an oracle would take, over the bars of each situation."""
    for group in groups:
        found = figures.foretold(bench, group.cell)
        if found is not None:
            panel.vlines(
                pick(found),
                group.top + _HEADING_ROWS - 0.5,
                group.end - 0.5,
                color='black',
                linestyle=':',
            )


def _described(cell: matrix.Cell) -> str:
    about = scenarios.SCENARIOS[cell.scenario].about
    return '\n'.join([cell.guest, *textwrap.wrap(f'({about})', 90)])


def _legend(
    figure: mpl_figure.Figure, bench: Bench, cells: Sequence[matrix.Cell]
) -> None:
    used = {name for cell in cells for name in bench.methods(cell)}
    shown = [name for name in _COLOURS if name in used]
    figure.legend(
        handles=[
            patches.Patch(
                color=_COLOURS[name], label=_METHOD_NAMES.get(name, name)
            )
            for name in shown
        ],
        loc='outside lower center',
        ncols=min(len(shown), 4),
    )


_METHOD_NAMES = {
    'plain': 'plain: without the plugin',
    'before': 'before: released before the transfer',
    'during': 'during: released during the transfer',
    'auto': 'auto: as the plugin chooses',
}


# --- the limits


def _bars(bench: Bench) -> mpl_figure.Figure:
    """Draw what was measured as a share of each limit."""
    verdicts = [one for one in bars.judge(bench) if one.figure is not None]
    figure = mpl_figure.Figure(
        figsize=(12, 1.4 + 0.4 * len(verdicts)), layout='constrained'
    )
    figure.suptitle(
        'What must be reached: a bar that ends left of the line is within the'
        ' limit',
        fontweight='bold',
    )
    panel = figure.subplots()
    for row, one in enumerate(verdicts):
        share = min(_share_of_limit(one), _MOST_SHARE)
        panel.barh(row, share, color=_MET if one.is_met else _MISSED)
        panel.annotate(
            f'{one.word}: {one.figure:{one.bar.form}},'
            f' at most {one.bar.limit:{one.bar.form}}',
            (_MOST_SHARE, row),
            (6, 0),
            textcoords='offset points',
            va='center',
            fontsize='small',
        )
    panel.set_yticks(
        range(len(verdicts)),
        [f'{one.bar.where}:\n{one.bar.what}' for one in verdicts],
        fontsize='small',
    )
    panel.set_ylim(len(verdicts) - 0.5, -0.5)
    panel.axvline(1.0, color='black')
    panel.set_xlim(0, _MOST_SHARE + 0.8)
    panel.set_xticks([0, 0.5, 1], ['0', '½ of the limit', 'the limit'])
    return figure


def _share_of_limit(one: bars.Verdict) -> float:
    """Put a figure on the axis; below zero it is as good as zero."""
    figure = max(one.figure or 0.0, 0.0)
    if one.bar.limit:
        return figure / one.bar.limit
    return _MOST_SHARE if figure else 0.0


# --- the guest's own work


def _work(bench: Bench, cells: Sequence[matrix.Cell]) -> mpl_figure.Figure:
    """Draw how fast the guest worked, around each migration."""
    columns = min(2, len(cells))
    rows = -(-len(cells) // columns)
    figure = mpl_figure.Figure(
        figsize=(12, 1.5 + 2.5 * rows), layout='constrained'
    )
    figure.suptitle(
        f"{_heading(bench, cells[0].bandwidth)}\nThe guest's own work, as a"
        ' share of what it did before; bars below: while it migrates',
        fontweight='bold',
    )
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, cell in zip(panels, cells, strict=False):
        _draw_work(panel, bench, cell)
    for panel in panels[len(cells) :]:
        panel.remove()
    for panel in panels[max(0, len(cells) - columns) : len(cells)]:
        panel.set_xlabel('seconds since the end of the migration')
    _legend(figure, bench, cells)
    return figure


def _draw_work(panel: mpl_axes.Axes, bench: Bench, cell: matrix.Cell) -> None:
    scenario = scenarios.SCENARIOS[cell.scenario]
    what = 'reads' if scenario.hot_file else 'work on memory'
    panel.set_title(f'{cell.guest}: {what}', loc='left', fontsize='medium')
    earliest = 0.0
    drawn = [name for name in bench.methods(cell) if name in _COLOURS]
    for number, method in enumerate(drawn):
        run = _middle(bench.of(cell, method))
        if not run.pace.before:
            continue
        begin = -run.seconds - _WORK_LEAD_SECONDS
        earliest = min(earliest, begin)
        points = [
            (at, 100 * pace / run.pace.before)
            for at, pace in run.work
            if begin <= at <= scenario.after_seconds
        ]
        colour = _COLOURS[method]
        panel.plot(*zip(*points, strict=True), color=colour, linewidth=1.3)
        # How long the migration takes, below all the lines.
        panel.barh(
            -8 * (number + 1), run.seconds, 6, -run.seconds, color=colour
        )
    panel.axvline(0, color='black', linewidth=0.8)
    panel.axhline(100, color='black', linewidth=0.5, linestyle=':')
    panel.set_xlim(earliest, scenario.after_seconds)
    panel.axhline(0, color='black', linewidth=0.8)
    panel.set_ylabel('%')
    panel.set_yticks([0, 50, 100])
    panel.grid(alpha=0.3)


def _middle(runs: Sequence[Run]) -> Run:
    """Choose a run of median length."""
    return sorted(runs, key=figures.seconds)[len(runs) // 2]

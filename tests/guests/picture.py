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

"""Draws the guests' work in time, and what their migrations cost."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib

import matplotlib as mpl
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import patches

from tests.guests import arguments
from tests.guests.results import Guests
from tests.guests.results import Run

# As in the benchmark's pictures: for those who see no red and green as well.
_COLOURS = {'plain': '#555555', 'freemem': '#0072b2'}
_NAMES = {
    'plain': 'plain: without the plugin',
    'freemem': 'freemem: with the plugin',
}
_LEAD_SECONDS = 10.0
# The same figures make the same file.
_STYLE = {'svg.fonttype': 'none', 'svg.hashsalt': 'guests'}


def draw(guests: Guests, file: pathlib.Path) -> None:
    """Draw everything into an SVG."""
    names = guests.cases()
    with mpl.rc_context(_STYLE):
        figure = mpl_figure.Figure(
            figsize=(10, 1.2 + 2.0 * len(names)), layout='constrained'
        )
        panels = figure.subplots(
            len(names), 2, squeeze=False, width_ratios=(3, 1)
        )
        for (left, right), name in zip(panels, names, strict=True):
            _draw_work(left, guests, name)
            _draw_bytes(right, guests, name)
        panels[0][1].set_title('MB sent', loc='left', fontsize='medium')
        panels[-1][0].set_xlabel(
            'seconds since the guest runs at the destination; bars: the'
            ' migration'
        )
        figure.legend(
            handles=[
                patches.Patch(color=colour, label=_NAMES[method])
                for method, colour in _COLOURS.items()
            ],
            loc='outside lower center',
            ncols=len(_COLOURS),
        )
        figure.savefig(file, format='svg', metadata={'Date': None})


def _draw_work(panel: mpl_axes.Axes, guests: Guests, name: str) -> None:
    """Draw the work of one run of each method, of median length."""
    earliest = latest = 0.0
    for number, method in enumerate(arguments.METHODS):
        runs = guests.of(name, method)
        if not runs:
            continue
        run = _middle(runs)
        begin = -run.seconds - _LEAD_SECONDS
        earliest = min(earliest, begin)
        latest = max(latest, run.work[-1][0])
        colour = _COLOURS[method]
        # Work that had stopped has no share of what it was.
        if run.throughput_before:
            points = [
                (at, 100 * count / run.throughput_before)
                for at, count in run.work
                if at >= begin
            ]
            panel.plot(*zip(*points, strict=True), color=colour, linewidth=1.2)
        panel.barh(
            -9 * (number + 1), run.seconds, 7, -run.seconds, color=colour
        )
    panel.set_title(
        f'{name}: work, % of that before', loc='left', fontsize='medium'
    )
    panel.axvline(0, color='black', linewidth=0.8)
    panel.axhline(0, color='black', linewidth=0.8)
    panel.axhline(100, color='black', linewidth=0.5, linestyle=':')
    panel.set_xlim(earliest, latest)
    panel.set_yticks([0, 50, 100])
    panel.grid(alpha=0.3)


def _draw_bytes(panel: mpl_axes.Axes, guests: Guests, name: str) -> None:
    most = 0.0
    for number, method in enumerate(arguments.METHODS):
        result = guests.result(name, method)
        if result is None:
            continue
        megabytes = result.bytes_sent / 1e6
        most = max(most, megabytes)
        panel.barh(number, megabytes, color=_COLOURS[method])
        panel.annotate(
            f'{megabytes:,.0f}',
            (megabytes, number),
            (4, 0),
            textcoords='offset points',
            va='center',
            fontsize='small',
        )
    panel.set_yticks([])
    panel.set_ylim(len(arguments.METHODS) - 0.5, -0.5)
    panel.set_xlim(0, 1.3 * most)
    panel.grid(axis='x', alpha=0.3)


def _middle(runs: Sequence[Run]) -> Run:
    """Choose a run of median length."""
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]

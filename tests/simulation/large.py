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

"""Guests of a terabyte, and paths of 100 Gb/s: where does what pay?

Nobody here has such hosts. This migrates simulated guests between them, with
the plugin's own code and published figures, and writes the table and the
picture of the manual::

    python -m tests.simulation.large --rst FILE --svg FILE
"""

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import textwrap

import matplotlib as mpl
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
import tabulate

from tests.simulation import hosts
from tests.simulation.model import GIB

SIZES_GIB = (64, 256, 1024)
# What a path carries, and over how many connections QEMU sends.
PATHS = ((1000, 1), (10_000, 1), (25_000, 2), (50_000, 4), (100_000, 8))

# A balloon that takes memory which has been used, on KVM, measured with the
# artifact of HyperAlloc (EuroSys '25).
_INFLATE = 0.92 * GIB
# Page cache, of that. Measured with emulated guests: nothing is published of
# KVM.
_RECLAIM_SHARE = 0.6
# Assumed, as are the share of a busy guest and that of the far end.
_LOOK = 10 * GIB
_BUSY_SHARE, _FAR_END_SHARE = 0.9, 0.37

# ``plain`` is without a release; the others are modes of the plugin.
_MODES = ('plain', 'before', 'during', 'auto')

_HEADINGS = {
    'plain': 'without the plugin',
    'before': '``before``',
    'during': '``during``',
    'auto': '``auto``',
}
# The same figures make the same file.
_STYLE = {'svg.fonttype': 'none', 'svg.hashsalt': 'large'}


SCENARIOS = (
    hosts.Scenario(
        'has freed 5/8 of its memory, does not report free pages',
        {'used_kib': 2 / 8, 'freed_kib': 5 / 8},
        {'reports': False},
    ),
    hosts.Scenario(
        'has 5/8 of cold page cache, reports free pages',
        {'used_kib': 2 / 8, 'cold_kib': 5 / 8},
        {'reports': True, 'drop_kib_per_second': hosts.DROP_KIB_PER_SECOND},
    ),
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A guest on a path, migrated in each way.

    :ivar path_mbps: what the path carries.
    :ivar connections: over which QEMU sends.
    :ivar seconds: of a migration, by how it was done.
    :ivar sent_gib: what was sent, likewise.
    """

    scenario: hosts.Scenario
    memory_gib: int
    path_mbps: int
    connections: int
    seconds: Mapping[str, float]
    sent_gib: Mapping[str, float]

    def share(self, mode: str) -> float:
        """:returns: the seconds of a mode, as a share of plain's."""
        return self.seconds[mode] / self.seconds['plain']

    @property
    def path(self) -> str:
        """The path, for people."""
        some = 's' if self.connections > 1 else ''
        return (
            f'{self.path_mbps // 1000} Gb/s, {self.connections}'
            f' connection{some}'
        )


def simulate(sizes_gib: Iterable[int] = SIZES_GIB) -> Iterator[Cell]:
    """Migrate each guest over each path."""
    for scenario in SCENARIOS:
        for memory_gib in sizes_gib:
            for path_mbps, connections in PATHS:
                yield _cell(scenario, memory_gib, path_mbps, connections)


def _cell(
    scenario: hosts.Scenario, memory_gib: int, path_mbps: int, connections: int
) -> Cell:
    host = hosts.Host(
        path_mbps,
        connections,
        _INFLATE,
        _RECLAIM_SHARE,
        _BUSY_SHARE,
        _LOOK,
        _FAR_END_SHARE,
        None,
    )
    guest = scenario.guest(memory_gib * GIB)
    seconds, sent_gib = {}, {}
    for mode in _MODES:
        _cloud, outcome = hosts.migrate_when_known(
            host, guest, mode, **scenario.behaviour
        )
        seconds[mode] = outcome.seconds
        sent_gib[mode] = outcome.sent_kib / GIB
    return Cell(
        scenario, memory_gib, path_mbps, connections, seconds, sent_gib
    )


def tables(cells: Sequence[Cell]) -> str:
    """:returns: the manual's tables, one for each scenario."""
    return '\n'.join(
        f'.. table:: A guest that {scenario.about}\n\n'
        + textwrap.indent(
            tabulate.tabulate(_rows(cells, scenario), 'keys', 'rst'), '   '
        )
        + '\n'
        for scenario in SCENARIOS
    )


def _rows(
    cells: Iterable[Cell], scenario: hosts.Scenario
) -> Iterator[dict[str, str]]:
    for cell in cells:
        if cell.scenario is not scenario:
            continue
        yield {
            'Memory': f'{cell.memory_gib} GiB',
            'Path': cell.path,
            **{
                _HEADINGS[mode]: f'{cell.seconds[mode]:.0f} s,'
                f' {cell.sent_gib[mode]:.0f} GiB'
                for mode in _MODES
            },
        }


def draw(cells: Sequence[Cell], file: pathlib.Path) -> None:
    """Draw what a user would pick, with a panel for each scenario."""
    with mpl.rc_context(_STYLE):
        figure = mpl_figure.Figure(figsize=(11, 4.6), layout='constrained')
        figure.suptitle(
            'Seconds of a migration with the plugin, of those without',
            fontsize='medium',
        )
        panels = figure.subplots(1, len(SCENARIOS), sharey=True)
        for panel, scenario in zip(panels, SCENARIOS, strict=True):
            _draw_panel(
                panel, [cell for cell in cells if cell.scenario is scenario]
            )
            panel.set_title(f'A guest that {scenario.about}', fontsize='small')
        figure.savefig(file, format='svg', metadata={'Date': None})


def _draw_panel(panel: mpl_axes.Axes, cells: Sequence[Cell]) -> None:
    columns, lines = len(PATHS), len(SIZES_GIB)
    shares = [
        [100 * cell.share('auto') for cell in cells[at : at + columns]]
        for at in range(0, columns * lines, columns)
    ]
    panel.imshow(shares, cmap='Blues_r', vmin=10, vmax=100, aspect='auto')
    for number, cell in enumerate(cells):
        panel.text(
            number % columns,
            number // columns,
            f'{cell.share("auto"):.0%}\n{cell.seconds["plain"]:.0f} →'
            f' {cell.seconds["auto"]:.0f} s',
            ha='center',
            va='center',
            fontsize='small',
            color='white' if cell.share('auto') < 0.6 else 'black',
        )
    panel.set_xticks(
        range(columns),
        [cell.path.replace(', ', '\n') for cell in cells[:columns]],
        fontsize='small',
    )
    panel.set_yticks(range(lines), [f'{size} GiB' for size in SIZES_GIB])
    panel.tick_params(length=0)


def main() -> None:
    """Simulate, and write what the manual shows."""
    parser = argparse.ArgumentParser(prog='python -m tests.simulation.large')
    parser.add_argument('--rst', type=pathlib.Path, required=True)
    parser.add_argument('--svg', type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    cells = list(simulate())
    arguments.rst.write_text(tables(cells))
    draw(cells, arguments.svg)


if __name__ == '__main__':
    main()

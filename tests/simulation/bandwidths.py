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

"""The guests of the benchmark over other networks than the one it has.

The plugin's own code migrates simulated guests that are like those which were
measured, and this writes the table of the manual::

    python -m tests.simulation.bandwidths --rst FILE
"""

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import pathlib

import tabulate

from tests.simulation import hosts
from tests.simulation.model import GIB
from tests.simulation.model import Model

PATHS_MBPS = (100, 1000, 2500, 5000, 10_000)

_MEMORY_KIB = 4 * GIB
# What is used of what was resident and sent; the rest was never touched.
_USED = {'used_kib': 230 / 4096}

SCENARIOS = (
    hosts.Scenario(
        'freed 3 GiB, does not report free pages',
        {**_USED, 'freed_kib': 3 / 4},
        {'reports': False},
    ),
    hosts.Scenario(
        'read 3 GiB once (cold page cache)',
        {**_USED, 'cold_kib': 3 / 4},
        {'reports': True, 'drop_kib_per_second': hosts.DROP_KIB_PER_SECOND},
    ),
    hosts.Scenario(
        'freed 3 GiB in pieces of 252 KiB',
        {**_USED, 'fragments_kib': 3 / 4 * 252 / 256},
        {'reports': True},
    ),
    hosts.Scenario(
        'reads a file all the time, freed 1 GiB, does not report free pages',
        {**_USED, 'freed_kib': 1 / 4, 'hot_kib': 1 / 4},
        {'reports': False, 'drop_kib_per_second': hosts.DROP_KIB_PER_SECOND},
    ),
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A guest on a path, without the plugin and with it.

    :ivar plain_seconds: without.
    :ivar seconds: with, in ``auto``.
    :ivar plain_mb: what was sent, without.
    :ivar mb: with.
    :ivar is_skipped: whether nothing was released.
    """

    scenario: hosts.Scenario
    path_mbps: int
    plain_seconds: float
    seconds: float
    plain_mb: float
    mb: float
    is_skipped: bool


def simulate() -> Iterator[Cell]:
    """Migrate each guest over each path."""
    for scenario in SCENARIOS:
        for path_mbps in PATHS_MBPS:
            yield _cell(scenario, path_mbps)


def _cell(scenario: hosts.Scenario, path_mbps: int) -> Cell:
    model = Model()
    host = hosts.Host(
        path_mbps * model.bandwidth_share,
        1,
        model.inflate_kib_per_second,
        model.reclaim_kib_per_second / model.inflate_kib_per_second,
        model.busy_balloon_share,
        model.look_kib_per_second,
        model.far_end_share,
        None,
    )
    guest = scenario.guest(_MEMORY_KIB)
    _cloud, plain = hosts.migrate_when_known(
        host, guest, 'plain', **scenario.behaviour
    )
    cloud, ours = hosts.migrate_when_known(
        host, guest, 'auto', **scenario.behaviour
    )
    return Cell(
        scenario,
        path_mbps,
        plain.seconds,
        ours.seconds,
        plain.sent_kib * 1024 / 1e6,
        ours.sent_kib * 1024 / 1e6,
        bool(cloud.reporter.reasons),
    )


def table(cells: Iterable[Cell]) -> str:
    """:returns: the manual's table."""
    body = tabulate.tabulate(
        list(_rows(cells)),
        'keys',
        'rst',
        disable_numparse=True,
        colalign=('left', *('right',) * 5),
    )
    return f'{body}\n'


def _rows(cells: Iterable[Cell]) -> Iterator[dict[str, str]]:
    last = None
    for cell in cells:
        yield {
            'Guest': '\\' if cell.scenario is last else cell.scenario.about,
            'Path': f'{cell.path_mbps / 1000:g} Gb/s',
            'Seconds without': f'{cell.plain_seconds:.1f}',
            'Seconds with': 'skipped'
            if cell.is_skipped
            else f'{cell.seconds:.1f}',
            'MB without': f'{cell.plain_mb:,.0f}',
            'MB with': '' if cell.is_skipped else f'{cell.mb:,.0f}',
        }
        last = cell.scenario


def main() -> None:
    """Simulate, and write what the manual shows."""
    parser = argparse.ArgumentParser(
        prog='python -m tests.simulation.bandwidths'
    )
    parser.add_argument('--rst', type=pathlib.Path, required=True)
    parser.parse_args().rst.write_text(table(simulate()))


if __name__ == '__main__':
    main()

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

"""The picture of one migration without and with the plugin.

Draws what a run of the demo measured::

    python doc/ext/migration.py RUN.json PICTURE.svg

The file is what ``tools/demo.sh --json`` writes; ``-`` for the picture is
standard output.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
import pathlib
import sys
from typing import Any

import svg

WIDTH, HEIGHT = 800, 262
LEFT, RIGHT = 130, 780

TRANSFER, RELEASE, RESTORE = '#0969da', '#1a7f37', '#9bd5a8'
TITLE = 'One live migration without and with nova-freemem'

TICK_SECONDS = 5


def draw(runs: list[dict[str, Any]]) -> str:
    """Return the picture as SVG.

    :param runs: of the demo, one without and one with the plugin
    """
    without, with_plugin = sorted(runs, key=lambda run: run['plugin'])
    return svg.picture(WIDTH, HEIGHT, TITLE, _shapes(without, with_plugin))


def _shapes(
    without: dict[str, Any], with_plugin: dict[str, Any]
) -> Iterator[str]:
    longest = max(
        run['seconds_total'] + (run['seconds_restore'] or 0)
        for run in (without, with_plugin)
    )
    scale = (RIGHT - LEFT) / longest
    yield svg.text(LEFT, 24, 'Seconds', bold=True)
    for second in range(0, int(longest) + 1, TICK_SECONDS):
        x = LEFT + second * scale
        yield svg.box(x, 34, 1, 118, '#d0d7de')
        yield svg.text(x, 168, str(second), 'middle', svg.FAINT)
    yield svg.text(LEFT - 12, 62, 'without', 'end')
    yield _bar(42, 0, without['seconds_transfer'], scale, TRANSFER)
    yield svg.text(LEFT - 12, 118, 'with', 'end')
    yield from _with_plugin(with_plugin, scale)
    yield from _key()
    yield from _sent(without, with_plugin)


def _bar(
    y: float, start: float, seconds: float, scale: float, fill: str
) -> str:
    return svg.box(LEFT + start * scale, y, seconds * scale, 30, fill)


def _with_plugin(run: dict[str, Any], scale: float) -> Iterator[str]:
    """The transfer starts while the release ends: below it, not over it."""
    landed = run['seconds_total']
    yield svg.box(LEFT, 94, run['seconds_release'] * scale, 17, RELEASE)
    yield svg.box(
        LEFT + (landed - run['seconds_transfer']) * scale,
        113,
        run['seconds_transfer'] * scale,
        17,
        TRANSFER,
    )
    if run['seconds_restore']:
        yield svg.box(
            LEFT + landed * scale,
            132,
            run['seconds_restore'] * scale,
            17,
            RESTORE,
        )


def _key() -> Iterator[str]:
    x = LEFT + 90
    for fill, words in (
        (RELEASE, 'release'),
        (TRANSFER, 'transfer'),
        (RESTORE, 'restore; the guest runs at the destination'),
    ):
        yield svg.box(x, 13, 13, 13, fill)
        yield svg.text(x + 20, 24, words)
        x += 44 + 7.5 * len(words)


def _sent(
    without: dict[str, Any], with_plugin: dict[str, Any]
) -> Iterator[str]:
    yield svg.text(LEFT, 196, 'Sent over the network', bold=True)
    most = without['bytes_sent']
    for y, run, name in (
        (206, without, 'without'),
        (232, with_plugin, 'with'),
    ):
        width = (RIGHT - LEFT - 80) * run['bytes_sent'] / most
        megabytes = f'{run["bytes_sent"] / 1e6:,.0f} MB'
        yield svg.text(LEFT - 12, y + 15, name, 'end')
        yield svg.box(LEFT, y, width, 20, TRANSFER)
        yield svg.text(LEFT + width + 8, y + 15, megabytes)


def main() -> None:
    """Draw what the command line says."""
    source, target = sys.argv[1:]
    shown = draw(json.loads(pathlib.Path(source).read_text()))
    if target == '-':
        sys.stdout.write(shown)
    else:
        pathlib.Path(target).write_text(shown)


if __name__ == '__main__':
    main()

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

"""The picture of the architecture: one migration through the packages."""

from __future__ import annotations

from collections.abc import Iterator

import svg

WIDTH, HEIGHT = 860, 500

HOST, PROCESS, PART, STEP = '#f6f8fa', '#ddf4ff', '#ffffff', '#dafbe1'
LINE = '#afb8c1'

TITLE = 'One live migration through the parts of nova-freemem'

LEFT, RIGHT, HOST_WIDTH = 20, 500, 340


def draw() -> str:
    """Return the picture as SVG."""
    return svg.picture(WIDTH, HEIGHT, TITLE, _shapes())


def _shapes() -> Iterator[str]:
    for x, name in ((LEFT, 'Source host'), (RIGHT, 'Destination host')):
        yield svg.box(x, 10, HOST_WIDTH, 480, HOST, LINE)
        yield svg.text(x + 12, 30, name, bold=True)
        yield from _host(x)
    yield from _source_steps()
    yield from _destination_steps()
    yield from _between()


def _part(
    x: float, y: float, width: float, words: str, fill: str = PART
) -> Iterator[str]:
    yield svg.box(x, y, width, 30, fill, LINE)
    yield svg.text(x + width / 2, y + 19, words, 'middle')


def _host(x: float) -> Iterator[str]:
    """What both hosts have."""
    yield svg.box(x + 10, 40, 320, 262, PROCESS, LINE)
    yield svg.text(x + 20, 58, 'nova-compute', bold=True)
    yield from _part(x + 20, 66, 300, "driver.py: Nova's driver, extended")
    yield from _part(x + 20, 226, 145, 'restore/reconciler')
    yield from _part(x + 175, 226, 145, 'report/: log, events')
    yield from _part(x + 20, 262, 300, 'virt/')
    yield svg.arrow([(x + 170, 294), (x + 170, 330)], both_ways=True)
    yield svg.box(x + 10, 332, 320, 148, PROCESS, LINE)
    yield svg.text(x + 20, 350, 'libvirt, QEMU', bold=True)
    yield from _part(x + 20, 358, 300, 'domain metadata: journal entry')
    yield svg.box(x + 20, 396, 300, 74, PART, LINE)
    yield svg.text(x + 30, 414, 'guest', bold=True)
    yield from _part(x + 30, 424, 130, 'guest agent', HOST)
    yield from _part(x + 180, 424, 130, 'balloon driver', HOST)


def _source_steps() -> Iterator[str]:
    x = LEFT
    yield from _part(x + 20, 106, 300, 'migrate/source')
    for number, name in enumerate(('acquire/', 'plan/', 'release/')):
        yield from _part(
            x + 20 + 104 * number, 146, 92, f'{number + 1} {name}', STEP
        )
    yield svg.arrow([(x + 112, 161), (x + 124, 161)])
    yield svg.arrow([(x + 216, 161), (x + 228, 161)])
    yield from _part(x + 20, 186, 300, 'if the migration fails')
    yield svg.arrow([(x + 92, 216), (x + 92, 226)])


def _destination_steps() -> Iterator[str]:
    x = RIGHT
    yield from _part(x + 20, 106, 300, '5 restore what is outstanding', STEP)
    yield svg.arrow([(x + 92, 136), (x + 92, 226)])


def _between() -> Iterator[str]:
    middle = (LEFT + HOST_WIDTH + RIGHT) / 2
    left, right = LEFT + HOST_WIDTH, RIGHT
    yield svg.text(middle, 100, "Nova's own steps", 'middle', svg.FAINT)
    yield svg.text(middle, 117, 'of a migration', 'middle', svg.FAINT)
    yield svg.arrow([(left - 20, 126), (right + 18, 126)], dashed=True)
    yield svg.arrow([(left - 20, 373), (right + 18, 373)], dashed=True)
    yield svg.text(middle, 365, 'travels along', 'middle', svg.FAINT)
    yield svg.text(middle, 425, '4 transfer of', 'middle', bold=True)
    yield svg.arrow([(left - 20, 433), (right + 18, 433)])
    yield svg.text(middle, 452, 'what is left', 'middle', bold=True)

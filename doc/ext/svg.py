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

"""A few shapes of SVG, as text."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax import saxutils

INK = '#24292f'
FAINT = '#6e7781'
FONT = 'Helvetica, Arial, sans-serif'


def picture(width: int, height: int, title: str, shapes: Iterable[str]) -> str:
    """Return a whole picture, on white.

    :param width: in pixels
    :param height: in pixels
    :param title: what it shows, for those who do not see it
    :param shapes: what the functions below returned
    """
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="{FONT}" font-size="13">',
        f'<title>{saxutils.escape(title)}</title>',
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" '
        'markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
        f'<path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *shapes,
        '</svg>',
    ]
    return '\n'.join(lines) + '\n'


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    fill: str,
    outline: str = 'none',
) -> str:
    """Return a rectangle with round corners."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'rx="4" fill="{fill}" stroke="{outline}"/>'
    )


def text(
    x: float,
    y: float,
    words: str,
    anchor: str = 'start',
    fill: str = INK,
    bold: bool = False,
) -> str:
    """Return a line of text; ``y`` is its base line."""
    weight = ' font-weight="bold"' if bold else ''
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" '
        f'fill="{fill}"{weight}>{saxutils.escape(words)}</text>'
    )


def arrow(
    points: Iterable[tuple[float, float]],
    both_ways: bool = False,
    dashed: bool = False,
) -> str:
    """Return a line through points with a head at its end."""
    way = ' '.join(f'{x:g},{y:g}' for x, y in points)
    start = ' marker-start="url(#head)"' if both_ways else ''
    dashes = ' stroke-dasharray="5 4"' if dashed else ''
    return (
        f'<polyline points="{way}" fill="none" stroke="{INK}" '
        f'stroke-width="1.5"{dashes}{start} marker-end="url(#head)"/>'
    )

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

"""Where the manual's tables and its picture go."""

import argparse
from collections.abc import Callable
import pathlib

from tests.bench import arguments


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options that name them."""
    for option, what in (
        ('--rst', 'write the tables to OUT instead of printing them'),
        ('--svg', 'draw a picture into OUT'),
    ):
        parser.add_argument(
            option, metavar='OUT', type=arguments.file, help=what
        )


def put(
    request: argparse.Namespace,
    text: str,
    draw: Callable[[pathlib.Path], None],
) -> None:
    """Write or print the tables, and draw the picture if it is asked for.

    :param request: as :func:`add` has it parsed.
    :param text: the tables.
    :param draw: draws the picture into a file.
    """
    if request.rst:
        request.rst.write_text(text)
    else:
        print(text, end='')
    if request.svg:
        draw(request.svg)

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

"""What the lab's commands and the demo accept, by the standard library.

:mod:`tests.lab.preflight` judges the words of a command with this before
anything is installed; the commands themselves parse them with it.
"""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from typing import NoReturn

from tests.lab import errors
from tests.lab import layout

#: What adds a command's arguments to its parser.
Adder = Callable[[argparse.ArgumentParser], None]

#: The memory of a guest unless another is asked for, MiB.
MEMORY_MIB = 4096
#: The speed of the migration link unless another is asked for, 10^6 bit/s.
LINK_MBIT = 1000
#: The file of the demo's picture unless another is asked for.
PICTURE = 'freemem-demo.png'


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, and an exception."""

    def error(self, message: str) -> NoReturn:
        """:raises Refused: always, with the message."""
        raise errors.Refused(f'{self.prog}: {message}')


def _whole(text: str, least: int, most: int, unit: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number")
    value = int(text)
    if not least <= value <= most:
        limits = f'between {least} and {most} {unit}'
        raise argparse.ArgumentTypeError(f'{text} is not {limits}')
    return value


def migration_bandwidth_mbps(text: str) -> int | None:
    """Read a link's speed.

    :returns: 10^6 bits a second, or None for ``none``: no limit.
    """
    if text == 'none':
        return None
    return _whole(text, 10, 100_000, 'Mbit/s (or none)')


def memory_mib(text: str, least: int = 256) -> int:
    """Read the size of a guest's memory, MiB."""
    return _whole(text, least, 65_536, 'MiB')


def demo_memory_mib(text: str) -> int:
    """Read the size of the demo's guest, MiB.

    Three quarters of it are dirtied; the guest itself needs some.
    """
    return memory_mib(text, least=1024)


def part_mib(text: str) -> int:
    """Read the size of a part of a guest's memory, MiB."""
    return _whole(text, 1, 65_536, 'MiB')


def add_link(parser: argparse.ArgumentParser) -> None:
    """Add ``--link``."""
    parser.add_argument(
        '--link',
        metavar='MBIT|none',
        dest='migration_bandwidth_mbps',
        type=migration_bandwidth_mbps,
        default=LINK_MBIT,
        help='speed of the migration link, 10^6 bits a second each way;'
        f' none: not limited (default: {LINK_MBIT})',
    )


def add_memory(
    parser: argparse.ArgumentParser,
    read: Callable[[str], int] = memory_mib,
) -> None:
    """Add ``--memory``."""
    parser.add_argument(
        '--memory',
        metavar='MIB',
        dest='memory_mib',
        type=read,
        default=MEMORY_MIB,
        help=f'memory of the guest, MiB (default: {MEMORY_MIB})',
    )


def demo(parser: argparse.ArgumentParser) -> None:
    """Add what the demo accepts."""
    add_link(parser)
    add_memory(parser, demo_memory_mib)
    parser.add_argument(
        '--json', metavar='FILE', help='write the figures to FILE as well'
    )
    parser.add_argument(
        '--png',
        metavar='FILE',
        default=PICTURE,
        help=f'where the picture goes (default: {PICTURE})',
    )
    parser.add_argument(
        '--keep', action='store_true', help='leave the cloud up afterwards'
    )


def up(parser: argparse.ArgumentParser) -> None:
    """Add what ``up`` accepts."""
    add_link(parser)
    parser.add_argument(
        '--plugin',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='whether the computes load the plugin (default: they do)',
    )


def down(parser: argparse.ArgumentParser) -> None:
    """Add what ``down`` accepts."""
    parser.add_argument(
        '--keep-databases',
        action='store_true',
        help='leave the databases, the images and the logs for the next up',
    )


def nothing(parser: argparse.ArgumentParser) -> None:
    """Add nothing: ``status`` accepts nothing."""


def _host(parser: argparse.ArgumentParser, option: str) -> None:
    parser.add_argument(
        option,
        choices=sorted(layout.HOSTS),
        dest='host',
        help='where to (default: the scheduler chooses)',
    )


def _server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('server', help='the name of a server')


def boot(parser: argparse.ArgumentParser) -> None:
    """Add what ``boot`` accepts."""
    _server(parser)
    add_memory(parser)
    _host(parser, '--host')
    parser.add_argument(
        '--no-reporting',
        dest='reporting',
        action='store_false',
        help='a balloon without free page reporting, as Nova <= 31 made it',
    )


def fill(parser: argparse.ArgumentParser) -> None:
    """Add what ``fill`` accepts."""
    _server(parser)
    kind = parser.add_mutually_exclusive_group(required=True)
    for name, what in (
        ('dirty', 'write to this much memory'),
        ('cache', 'read this much from the disk into the page cache'),
        ('fragmented', 'write to this much memory and free every other page'),
    ):
        kind.add_argument(
            f'--{name}',
            metavar='MIB',
            dest=f'{name}_mib',
            type=part_mib,
            help=f'{what}, MiB',
        )
    parser.add_argument(
        '--free', action='store_true', help='with --dirty: free it again'
    )


def migrate(parser: argparse.ArgumentParser) -> None:
    """Add what ``migrate`` accepts."""
    _server(parser)
    _host(parser, '--to')


def execute(parser: argparse.ArgumentParser) -> None:
    """Add what ``exec`` accepts."""
    _server(parser)
    parser.add_argument(
        'argv',
        nargs=argparse.REMAINDER,
        metavar='COMMAND',
        help='the command to run in the guest, and its arguments',
    )


#: What adds a command's arguments to its parser, by the command's name.
COMMANDS: Mapping[str, Adder] = {
    'up': up,
    'down': down,
    'status': nothing,
    'boot': boot,
    'fill': fill,
    'migrate': migrate,
    'exec': execute,
}

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

"""The arguments of the lab's commands and of the demo.

:mod:`tests.lab.preflight` checks a command line with this before anything is
installed, so it needs nothing but the standard library.
"""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
import re
from typing import NoReturn

from tests.lab import errors
from tests.lab import layout

#: What adds a command's arguments to its parser.
Adder = Callable[[argparse.ArgumentParser], None]

#: The memory of a guest unless another is asked for, MiB.
MEMORY_MIB = 4096
#: The speed of the migration link unless another is asked for, 10^6 bit/s.
LINK_MBIT = 1000
# pyroute2 counts a link's bytes a second in 32 bits.
_MOST_MBIT = 34_000
#: What a guest can run: the lab's own small system, or a whole Debian.
SYSTEMS = ('small', 'debian')
#: The releases of Debian; of backports, the kernel alone.
SUITES = ('bookworm', 'bookworm-backports', 'trixie')
#: The file of the demo's picture unless another is asked for.
PICTURE = 'freemem-demo.png'


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        :raises Refused: always, with the message.
        """
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
    return _whole(text, 10, _MOST_MBIT, 'Mbit/s (or none)')


def memory_mib(text: str, least: int = 256) -> int:
    """Read the size of a guest's memory, MiB."""
    return _whole(text, least, 65_536, 'MiB')


def demo_memory_mib(text: str) -> int:
    """Read the size of the demo's guest, MiB.

    Three quarters of it are dirtied; the guest itself needs some.
    """
    return memory_mib(text, least=1024)


def packages(text: str) -> tuple[str, ...]:
    """Read the names of packages (Debian Policy, 5.6.1)."""
    names = tuple(filter(None, text.split(',')))
    for name in names:
        if not re.fullmatch('[a-z0-9][a-z0-9+.-]+', name, re.ASCII):
            raise argparse.ArgumentTypeError(f"'{name}' is not a package")
    return names


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
        help='speed of the migration link each way, 10^6 bits a second, or'
        f' none for no limit (default: {LINK_MBIT})',
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
    """Add the arguments of the demo."""
    add_link(parser)
    add_memory(parser, demo_memory_mib)
    parser.add_argument(
        '--json', metavar='FILE', help='also write the figures to FILE'
    )
    parser.add_argument(
        '--png',
        metavar='FILE',
        default=PICTURE,
        help=f'write the picture to FILE (default: {PICTURE})',
    )
    parser.add_argument(
        '--keep', action='store_true', help='keep the cloud up afterwards'
    )


def up(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``up``."""
    add_link(parser)
    parser.add_argument(
        '--plugin',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='whether nova-compute loads the plugin (default: it does)',
    )
    parser.add_argument(
        '--own-disks',
        action='store_true',
        help='give each host a folder of its own for the disks of its guests,'
        ' which migrate with them (default: the hosts share one)',
    )


def down(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``down``."""
    parser.add_argument(
        '--keep-databases',
        action='store_true',
        help='keep the databases, the images and the logs for the next up',
    )


def nothing(parser: argparse.ArgumentParser) -> None:
    """Add nothing: ``status`` takes no arguments."""


def _host(parser: argparse.ArgumentParser, option: str) -> None:
    parser.add_argument(
        option,
        choices=sorted(layout.HOSTS),
        dest='host',
        help='host to use (default: the scheduler chooses)',
    )


def _server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('server', help='name of the server')


def boot(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``boot``."""
    _server(parser)
    add_memory(parser)
    _host(parser, '--host')
    parser.add_argument(
        '--no-reporting',
        dest='reporting',
        action='store_false',
        help='give it a balloon without free page reporting, as Nova <= 31'
        ' does',
    )
    parser.add_argument(
        '--system',
        choices=SYSTEMS,
        default=SYSTEMS[0],
        help='what it runs: a kernel and a shell, or a whole Debian, which is'
        f' made from its packages (default: {SYSTEMS[0]})',
    )
    parser.add_argument(
        '--suite',
        choices=SUITES,
        default=SUITES[0],
        help='release of the Debian; of backports it has the kernel'
        f' (default: {SUITES[0]})',
    )
    parser.add_argument(
        '--with',
        metavar='PACKAGE,...',
        dest='packages',
        type=packages,
        default=(),
        help='packages that are installed in the Debian as well',
    )


def fill(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``fill``."""
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
    """Add the arguments of ``migrate``."""
    _server(parser)
    _host(parser, '--to')


def execute(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``exec``."""
    _server(parser)
    parser.add_argument(
        'argv',
        nargs=argparse.REMAINDER,
        metavar='COMMAND',
        help='the command to run in the guest, and its arguments',
    )


#: The lab's commands: what each does, and what adds its arguments.
COMMANDS: Mapping[str, tuple[str, Adder]] = {
    'up': ('Bring up what is not up.', up),
    'down': ('End everything that up started, and remove it.', down),
    'status': ('Show what runs.', nothing),
    'boot': ('Create a server, and wait until its guest agent answers.', boot),
    'fill': ('Have a guest use its memory.', fill),
    'migrate': ('Live-migrate a server.', migrate),
    'exec': ('Run a command in a guest, through its agent.', execute),
}


def lab() -> Parser:
    """Make the parser of ``tools/lab.sh``."""
    parser = Parser('tools/lab.sh', description='A cloud on one machine.')
    commands = parser.add_subparsers(
        dest='command', metavar='COMMAND', required=True
    )
    for name, (what, add) in COMMANDS.items():
        add(commands.add_parser(name, help=what, description=what))
    return parser

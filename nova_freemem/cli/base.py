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

"""What the commands have in common."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any
from typing import NoReturn

from cliff import command

from nova_freemem import exceptions
from nova_freemem.virt import host as hosts

DONE = 0
NOT_DONE = 1
REFUSED = 2

DEFAULT_URI = 'qemu:///system'


class Refused(exceptions.FreememError):
    """The arguments ask for what cannot be done."""

    message = '{problem}'


class NoLibvirt(Refused):
    """libvirt cannot be reached."""


class Command(command.Command):
    """A command whose errors are one line on standard error."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        return in_one_line(super().get_parser(prog_name))

    def run(self, parsed_args: argparse.Namespace) -> int:
        """See :meth:`cliff.command.Command.run`."""
        try:
            return super().run(parsed_args)
        except exceptions.FreememError as error:
            print_error(f'nova-freemem: {error}')
            return REFUSED if isinstance(error, Refused) else NOT_DONE


def in_one_line(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Have a parser say what is wrong in one line, without its usage.

    :param parser: the parser
    :returns: the same
    """

    def error(message: str) -> NoReturn:
        print_error(f'{parser.prog}: {message} (see "{parser.prog} --help")')
        sys.exit(REFUSED)

    parser.error = error  # type: ignore[method-assign]
    return parser


def connected(uri: str) -> hosts.Host:
    """Connect to libvirt.

    :param uri: of libvirt
    :raises NoLibvirt: the connection failed
    """
    try:
        return hosts.Host.at(uri)
    except exceptions.LibvirtError as error:
        raise NoLibvirt(problem=str(error)) from None


def shown(value: Any, parsed_args: argparse.Namespace) -> Any:
    """Return a value as it is shown.

    :param value: None where it is unknown
    :param parsed_args: with the output format
    :returns: the value; where it is unknown "n/a", or null in a format that
              has it
    """
    if value is None and parsed_args.formatter not in ('json', 'yaml'):
        return 'n/a'
    return value


def whole_number(text: str, largest: int | None = None) -> int:
    """Parse a number that is not negative.

    :param text: the argument
    :param largest: the upper bound
    :returns: the number
    :raises ArgumentTypeError: it is not a whole number, or out of bounds
    """
    with contextlib.suppress(ValueError):
        number = int(text)
        if number >= 0 and (largest is None or number <= largest):
            return number
    bound = '' if largest is None else f' to {largest}'
    raise argparse.ArgumentTypeError(
        f'{text[:40]!r} is not a whole number from 0{bound}'
    )


def not_restored(uuid: str, why: str) -> int:
    """Print that the memory of a guest was not restored.

    :param uuid: the guest
    :param why: the reason
    :returns: the exit code
    """
    print_error(f'{uuid}: not restored: {why}')
    return NOT_DONE


def print_error(line: str) -> None:
    """Print to standard error.

    :param line: what went wrong
    """
    print(line, file=sys.stderr)

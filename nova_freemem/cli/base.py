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
import functools
import sys
from typing import Any
from typing import NoReturn

from cliff import command

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.restore import schedule
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts

DONE = 0
NOT_DONE = 1
REFUSED = 2

DEFAULT_URI = 'qemu:///system'
WAIT_SECONDS = 60


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


class HostCommand(Command):
    """A command about the guests of this host."""

    #: What ``--uri`` is without being specified, for its help.
    uri_default = DEFAULT_URI

    _uri: str

    @functools.cached_property
    def host(self) -> hosts.Host:
        """This host; connects on first use.

        :raises NoLibvirt: the connection failed
        """
        return connected(self._uri)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--uri',
            default=DEFAULT_URI,
            help='URI of libvirt, as [libvirt] connection_uri in nova.conf '
            f'(default: {self.uri_default}).',
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """See :meth:`cliff.command.Command.run`."""
        self._uri = parsed_args.uri
        return super().run(parsed_args)


class RestoringCommand(HostCommand):
    """A command that restores memory and waits for it to arrive."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--wait-seconds',
            type=whole_number,
            default=WAIT_SECONDS,
            metavar='N',
            help='How long to wait for the memory to be restored (default: '
            f'{WAIT_SECONDS}). What is not restored by then stays '
            'outstanding.',
        )
        return parser

    def why_kept(
        self,
        guest: guests.Guest,
        entry: journal.JournalEntry | None,
        now: float,
    ) -> str | None:
        """Return why an entry must not be touched now, None where it may.

        A migration writes its entry before it releases anything: until then
        its guest has all its memory.

        :param guest: the guest
        :param entry: its entry, None where it has none any more
        :param now: seconds of the wall clock
        :raises LibvirtError: the guest could not be read
        """
        stats = guest.memory_stats()
        if (
            entry is None
            or stats is None
            or not schedule.is_whole(stats.actual_kib, entry.original_kib)
            or not entry.is_of_release_under_way(self.host.name(), now)
        ):
            return None
        return (
            'the guest has all its memory, and its journal entry, written at '
            f'{entry.released_at:%H:%M:%S} UTC, is kept: a live migration '
            'may be about to release memory'
        )

    def begin(
        self,
        guest: guests.Guest,
        entry: journal.JournalEntry,
        clock: clocks.Clock,
    ) -> restorations.Restoration:
        """Begin to restore a guest.

        That ends where its entry is one of a live migration that has begun on
        this host since: what is outstanding then is that migration's.

        :param guest: the guest
        :param entry: what says that its memory is outstanding
        :param clock: for waits
        :raises LibvirtError: it could not begin
        """

        def is_anothers(other: journal.JournalEntry) -> bool:
            return other != entry and other.is_of_release_under_way(
                self.host.name(), clock.wall()
            )

        return restorations.Restoration(guest, clock, is_anothers)

    def watch(
        self,
        uuid: str,
        restoration: restorations.Restoration,
        deadline: clocks.Deadline,
    ) -> int:
        """Wait for one guest, and print the result.

        :param uuid: the guest
        :param restoration: what was begun for it
        :param deadline: when to stop
        :returns: the exit code
        """
        try:
            seen = restoration.watch(deadline.left_seconds())
        except exceptions.FreememError as error:
            return not_restored(uuid, str(error))
        result = seen.result
        if seen.unreadable is not None:
            return not_restored(
                uuid, f'its journal entry cannot be read: {seen.unreadable}'
            )
        if seen.entry is None:
            print(f'{uuid}: restored already')
            return DONE
        if result is None:
            return not_restored(
                uuid, f'the guest is {seen.situation.value}; try again later'
            )
        if not restoration.is_done:
            return not_restored(
                uuid,
                f'the guest has {result.after_kib} of '
                f'{result.original_kib} KiB after '
                f'{result.seconds:.0f} s; the rest stays outstanding',
            )
        print(
            f'{uuid}: {result.before_kib} -> {result.after_kib} KiB '
            f'in {result.seconds:.1f} s'
        )
        return DONE


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

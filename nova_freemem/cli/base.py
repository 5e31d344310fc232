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
import functools
import sys

from cliff import command

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import host as hosts

DONE = 0
NOT_DONE = 1
REFUSED = 2

DEFAULT_URI = 'qemu:///system'
WAIT_SECONDS = 60


class Refused(exceptions.FreememError):
    """The operator asks for what is not done."""

    message = '{problem}'


class HostCommand(command.Command):
    """A command about the guests of this host."""

    _uri: str

    @functools.cached_property
    def hypervisor(self) -> hosts.Host:
        """This host's, once somebody asks for it."""
        return hosts.Host.at(self._uri)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--uri',
            default=DEFAULT_URI,
            help='Of libvirt, as in [libvirt] connection_uri of nova.conf '
            '(default: %(default)s).',
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Do it, and say in one line what went wrong.

        See :meth:`cliff.command.Command.run`.
        """
        self._uri = parsed_args.uri
        try:
            return super().run(parsed_args)
        except exceptions.FreememError as fault:
            complain(f'nova-freemem: {fault}')
            return REFUSED if isinstance(fault, Refused) else NOT_DONE


class RestoringCommand(HostCommand):
    """A command that gives memory back, and waits until it has arrived."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--wait-seconds',
            type=whole_number,
            default=WAIT_SECONDS,
            metavar='N',
            help='How long to wait until guests have it (default: '
            '%(default)s). What is late then is still owed.',
        )
        return parser

    def watch(
        self,
        uuid: str,
        assignment: restorations.Restoration,
        deadline: clocks.Deadline,
    ) -> int:
        """Wait for one guest, and say what came of it.

        :param uuid: the guest
        :param assignment: what was begun
        :param deadline: when to stop
        :returns: the exit code
        """
        try:
            assigned = assignment.watch(deadline.left_seconds())
        except exceptions.FreememError as fault:
            return not_restored(uuid, str(fault))
        if assigned is None:
            print(f'{uuid}: settled by somebody else')
            return DONE
        if not assigned.complete:
            return not_restored(
                uuid,
                f'it has {assigned.after_kib} of '
                f'{assigned.original_kib} KiB after '
                f'{assigned.seconds:.0f} s',
            )
        print(
            f'{uuid}: {assigned.before_kib} -> {assigned.after_kib} KiB '
            f'in {assigned.seconds:.1f} s'
        )
        return DONE


def whole_number(text: str) -> int:
    """Read a number that is not negative.

    :param text: what the operator wrote
    :returns: the number
    :raises ValueError: it is none
    """
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def not_restored(uuid: str, why: str) -> int:
    """Say that a guest does not have its memory.

    :param uuid: the guest
    :param why: the reason
    :returns: the exit code
    """
    complain(f'{uuid}: not done: {why}')
    return NOT_DONE


def complain(line: str) -> None:
    """Say what went wrong.

    :param line: to whom it may concern
    """
    print(line, file=sys.stderr)

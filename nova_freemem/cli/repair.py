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

"""``nova-freemem repair``: replace a journal entry and restore memory."""

from __future__ import annotations

import argparse
import datetime
import functools

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.cli import base
from nova_freemem.cli import restoring
from nova_freemem.restore import journal
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests

KIB_PER_MIB = 1024
# Nova's own default of [libvirt] mem_stats_period_seconds.
STATS_PERIOD_SECONDS = 10


class Repair(restoring.RestoringCommand):
    """Replace a journal entry and restore what the new one says.

    For an entry that cannot be read, or that cannot be restored as it is. If
    the guest is slow, nova-compute or "nova-freemem restore" continues.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument('server', help='UUID of a server on this host.')
        parser.add_argument(
            '--memory-mib',
            type=base.whole_number,
            metavar='N',
            help='Memory that the guest is to have, in MiB (default: all '
            'that its domain may have, which is what its flavor says).',
        )
        parser.add_argument(
            '--stats-period-seconds',
            type=functools.partial(
                base.whole_number,
                largest=domain_xml.LONGEST_STATS_PERIOD_SECONDS,
            ),
            metavar='N',
            default=STATS_PERIOD_SECONDS,
            help='How often the balloon driver sends its statistics, as '
            '[libvirt] mem_stats_period_seconds in nova.conf (default: '
            f'{STATS_PERIOD_SECONDS}).',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Replace the entry, and restore what the new one says."""
        uuid, clock = parsed_args.server, clocks.Clock()
        guest = self.host.guest(uuid)
        if guest.read_metadata() is None:
            print(f'{uuid}: no outstanding memory')
            return base.DONE
        situation = guest.situation()
        if situation is not guests.Situation.RUNNING:
            return base.not_restored(
                uuid, f'the guest is {situation.value}; try again later'
            )
        why = self._why_kept(guest, clock)
        if why is not None:
            return base.not_restored(uuid, why)
        entry = journal.JournalEntry(
            original_kib=_original_kib(guest, uuid, parsed_args.memory_mib),
            source='repair',
            released_at=datetime.datetime.fromtimestamp(
                clock.wall(), datetime.UTC
            ),
            migration='repair',
            stats_period_seconds=parsed_args.stats_period_seconds,
        )
        journal.write(guest, entry)
        return self.watch(
            uuid,
            self.begin(guest, entry, clock),
            clocks.Deadline(clock, parsed_args.wait_seconds),
        )

    def _why_kept(
        self, guest: guests.Guest, clock: clocks.Clock
    ) -> str | None:
        try:
            entry = journal.read(guest)
        except exceptions.JournalUnreadable:
            return None
        return self.why_kept(guest, entry, clock.wall())


def _original_kib(
    guest: guests.Guest, uuid: str, memory_mib: int | None
) -> int:
    """Return the memory that the guest is to have.

    :raises Refused: its domain may not have that, or there is nothing to
                     repair
    """
    if memory_mib is None:
        _refuse_readable(guest, uuid)
    maximum_kib = domain_xml.memory_kib(guest.xml())
    if memory_mib is None:
        return maximum_kib
    original_kib = memory_mib * KIB_PER_MIB
    if not 0 < original_kib <= maximum_kib:
        raise base.Refused(
            problem=f'--memory-mib {memory_mib} is not from 1 to '
            f'{maximum_kib // KIB_PER_MIB}, the memory of the domain'
        )
    return original_kib


def _refuse_readable(guest: guests.Guest, uuid: str) -> None:
    try:
        entry = journal.read(guest)
    except exceptions.JournalUnreadable:
        return
    if entry is not None:
        raise base.Refused(
            problem=f'the journal entry of {uuid} can be read '
            f'({entry.original_kib} KiB): run "nova-freemem restore {uuid}", '
            'or specify --memory-mib'
        )

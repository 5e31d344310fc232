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

"""``nova-freemem restore``: restore outstanding memory."""

from __future__ import annotations

import argparse

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.cli import base
from nova_freemem.cli import restoring
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests


class Restore(restoring.RestoringCommand):
    """Restore outstanding memory of guests of this host.

    A guest that is paused or has a libvirt job, such as a migration, is
    skipped, and so is one whose journal entry cannot be read. Each is
    reported, and the exit code is 1.

    A guest that has all its memory keeps the entry that a live migration
    wrote on this host in the last 61 minutes: the migration may be about to
    release memory. One line says so.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--all', action='store_true', help='All guests of this host.'
        )
        parser.add_argument(
            'server', nargs='*', help='UUIDs of servers on this host.'
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Start with all guests at once, and wait for each in turn."""
        if parsed_args.all == bool(parsed_args.server):
            raise base.Refused(
                problem='Specify either --all or one or more servers.'
            )
        clock = clocks.Clock()
        uuids = sorted(
            self.host.journal_entries()
            if parsed_args.all
            else parsed_args.server
        )
        if not uuids:
            print('No guest of this host has outstanding memory.')
        begun = {uuid: self._begin(uuid, clock) for uuid in uuids}
        deadline = clocks.Deadline(clock, parsed_args.wait_seconds)
        return max(
            (
                one
                if isinstance(one, int)
                else self.watch(uuid, one, deadline)
                for uuid, one in begun.items()
            ),
            default=base.DONE,
        )

    def _begin(
        self, uuid: str, clock: clocks.Clock
    ) -> restorations.Restoration | int:
        """Start with one guest; return an exit code where that is all."""
        try:
            guest = self.host.guest(uuid)
            entry = journal.read(guest)
            if entry is None:
                print(f'{uuid}: no outstanding memory')
                return base.DONE
            situation = guest.situation()
            if situation is not guests.Situation.RUNNING:
                return base.not_restored(
                    uuid, f'the guest is {situation.value}; try again later'
                )
            why = self.why_kept(guest, entry, clock.wall())
            if why is not None:
                print(f'{uuid}: {why}')
                return base.DONE
            return self.begin(guest, entry, clock)
        except exceptions.JournalUnreadable as error:
            return base.not_restored(
                uuid,
                f'its journal entry cannot be read: {error}; see '
                f'"nova-freemem repair {uuid}"',
            )
        except exceptions.FreememError as error:
            return base.not_restored(uuid, str(error))

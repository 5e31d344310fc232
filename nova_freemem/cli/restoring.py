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

"""What the commands that restore memory have in common."""

from __future__ import annotations

import argparse

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.cli import base
from nova_freemem.cli import compute_host
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.restore import schedule
from nova_freemem.virt import guest as guests

WAIT_SECONDS = 60


class RestoringCommand(compute_host.HostCommand):
    """A command that restores memory and waits for it to arrive."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--wait-seconds',
            type=base.whole_number,
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
            return base.not_restored(uuid, str(error))
        result = seen.result
        if seen.unreadable is not None:
            return base.not_restored(
                uuid, f'its journal entry cannot be read: {seen.unreadable}'
            )
        if seen.entry is None:
            print(f'{uuid}: restored already')
            return base.DONE
        if result is None:
            return base.not_restored(
                uuid, f'the guest is {seen.situation.value}; try again later'
            )
        if restoration.awaits_definition:
            return base.not_restored(
                uuid,
                'the guest has all its memory, but its domain has no '
                'persistent definition in which to set that: Nova is copying '
                'a disk, for a snapshot perhaps; the journal entry is kept '
                'until then',
            )
        if not restoration.is_done:
            return base.not_restored(
                uuid,
                f'the guest has {result.after_kib} of '
                f'{result.original_kib} KiB after '
                f'{result.seconds:.0f} s; the rest stays outstanding',
            )
        print(
            f'{uuid}: {result.before_kib} -> {result.after_kib} KiB '
            f'in {result.seconds:.1f} s'
        )
        return base.DONE

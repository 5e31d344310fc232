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

"""``nova-freemem restore``: give back what is owed."""

from __future__ import annotations

import argparse

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.cli import base
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.restore import retry


class Restore(base.RestoringCommand):
    """Give guests of this host the memory that they are owed.

    A guest that is paused or being migrated is left for later, and so is an
    entry that cannot be read; both are said, and the exit code is 1.
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
        """Pay all at once, and wait for each in turn."""
        if parsed_args.all == bool(parsed_args.server):
            raise base.Refused(problem='name servers, or say --all')
        clock = clocks.Clock()
        uuids = sorted(
            self.hypervisor.journal_entries()
            if parsed_args.all
            else parsed_args.server
        )
        if not uuids:
            print('No guest of this host is owed memory.')
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
        """Begin with one guest; tell its exit code where that is not done."""
        try:
            domain = self.hypervisor.domain(uuid)
            owed = journal.read(domain)
            if owed is None:
                print(f'{uuid}: is owed nothing')
                return base.DONE
            situation = domain.situation()
            if (
                retry.judge(owed, situation, retry.Attempts(), clock.now())
                is retry.Verdict.NOW
            ):
                return restorations.Restoration(domain, owed, clock)
            return base.not_restored(uuid, f'it {situation.value}')
        except exceptions.JournalUnreadable as fault:
            return base.not_restored(
                uuid, f'{fault}; see "nova-freemem repair {uuid}"'
            )
        except exceptions.FreememError as fault:
            return base.not_restored(uuid, str(fault))

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

"""``nova-freemem list``: who is owed what."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from cliff import lister

from nova_freemem import exceptions
from nova_freemem.cli import base
from nova_freemem.restore import journal

COLUMNS = (
    'Server',
    'Original KiB',
    'Actual KiB',
    'Guest',
    'Taken by',
    'Taken at',
    'Migration',
)


class List(base.HostCommand, lister.Lister):
    """List the guests of this host that are owed memory."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """See :meth:`cliff.lister.Lister.take_action`."""
        entries = self.hypervisor.journal_entries()
        return COLUMNS, (
            self._row(uuid, entries[uuid]) for uuid in sorted(entries)
        )

    def _row(self, uuid: str, entry: str) -> tuple[object, ...]:
        situation, actual_kib = self._guest(uuid)
        try:
            owed = journal.JournalEntry.from_xml(entry)
        except exceptions.JournalUnreadable as fault:
            return (uuid, None, actual_kib, situation, str(fault), None, None)
        return (
            uuid,
            owed.original_kib,
            actual_kib,
            situation,
            printable(owed.source),
            owed.released_at.isoformat(),
            printable(owed.migration),
        )

    def _guest(self, uuid: str) -> tuple[str, int | None]:
        """Tell what a guest does, and how much memory it has."""
        try:
            domain = self.hypervisor.domain(uuid)
            balloon = domain.memory_stats()
            return (
                domain.situation().value,
                None if balloon is None else balloon.actual_kib,
            )
        except exceptions.FreememError as fault:
            return str(fault), None


def printable(text: str) -> str:
    """Make one short line of what somebody wrote.

    :param text: from an entry
    :returns: at most 64 characters, all of which can be seen
    """
    return text[:64] if text.isprintable() else ascii(text[:64])

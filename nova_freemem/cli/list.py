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

"""``nova-freemem list``: the guests with outstanding memory."""

from __future__ import annotations

import argparse

from cliff import lister

from nova_freemem import exceptions
from nova_freemem.cli import base
from nova_freemem.cli import compute_host
from nova_freemem.restore import journal

COLUMNS = (
    'server',
    'original_kib',
    'current_kib',
    'state',
    'source',
    'released_at',
    'migration',
)


class List(compute_host.HostCommand, lister.Lister):
    """List the guests of this host with outstanding memory."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """See :meth:`cliff.lister.Lister.take_action`."""
        entries = self.host.journal_entries()
        rows = [self._row(uuid, entries[uuid]) for uuid in sorted(entries)]
        return COLUMNS, [
            tuple(base.shown(value, parsed_args) for value in row)
            for row in rows
        ]

    def _row(self, uuid: str, text: str) -> tuple[object, ...]:
        state, current_kib = self._guest(uuid)
        try:
            entry = journal.JournalEntry.from_xml(text)
        except exceptions.JournalUnreadable as error:
            state = f'{state}; its journal entry cannot be read: {error}'
            return (uuid, None, current_kib, state, None, None, None)
        return (
            uuid,
            entry.original_kib,
            current_kib,
            state,
            entry.source,
            entry.released_at.isoformat(),
            entry.migration,
        )

    def _guest(self, uuid: str) -> tuple[str, int | None]:
        """Return the state of a guest and its memory, in KiB."""
        try:
            guest = self.host.guest(uuid)
            balloon = guest.memory_stats()
            return (
                guest.situation().value,
                None if balloon is None else balloon.actual_kib,
            )
        except exceptions.FreememError as error:
            return str(error), None

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


"""The journal entry in a domain's metadata, in ``JournalEntry.from_xml``."""

import datetime

from nova_freemem.restore import journal
from tests.fuzz import oracle

MODULES = ('nova_freemem.restore.journal',)

ENTRY = journal.JournalEntry(
    original_kib=4194304,
    source='host1',
    released_at=datetime.datetime(2026, 11, 2, 8, 0, tzinfo=datetime.UTC),
    migration='7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2',
    stats_period_seconds=10,
)

_LAUGHS = (
    '<!DOCTYPE outstanding [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;">]>'
)
_FILE = '<!DOCTYPE outstanding [<!ENTITY c SYSTEM "file:///etc/passwd">]>'


def seeds() -> list[bytes]:
    """:returns: an entry, and such as the plugin never writes."""
    entry = ENTRY.to_xml()
    return [
        text.encode()
        for text in (
            entry,
            entry.replace('"1"', '"2"'),
            entry.replace('4194304', '9' * 3000),
            entry.replace('host1', '&#10;ERROR &#x9b;2J'),
            entry.replace('+00:00', '').replace('2026', '0001'),
            entry.replace('+00:00', '-23:59').replace('2026', '9999'),
            _LAUGHS + entry.replace('host1', '&c;'),
            _FILE + entry.replace('/>', '>&c;</outstanding>'),
        )
    ]


def run(data: bytes) -> None:
    """Read an entry.

    :param data: the metadata element.
    """
    with oracle.only_own_errors():
        found = journal.JournalEntry.from_xml(
            data.decode(errors='surrogateescape')
        )
        assert 0 < found.original_kib < 1 << 63, 'no amount of memory'
        assert 0 <= found.stats_period_seconds < 1 << 31, 'no period'
        for text in (found.source, found.migration):
            assert len(text) <= 255, f'{len(text)} characters'
            oracle.check_harmless(text)
        # The age of the entry must be computable as well.
        found.released_at.astimezone(datetime.UTC) - ENTRY.released_at
        assert journal.JournalEntry.from_xml(found.to_xml()) == found

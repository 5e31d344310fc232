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

"""What is owed to a guest, kept in its libvirt domain.

Written before the first page is taken and erased once the guest has
everything back. It travels with the guest, so that whoever has the guest
knows what it is owed.
"""

from __future__ import annotations

import dataclasses
import datetime

from lxml import etree

from nova_freemem import exceptions
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from nova_freemem.virt import validation

FORMAT = '1'
LONGEST_ENTRY_CHARACTERS = 4096
LONGEST_NAME_CHARACTERS = 255


@dataclasses.dataclass(frozen=True)
class JournalEntry:
    """One entry.

    :ivar original_kib: memory the guest had, and is to have again
    :ivar source: host that took it
    :ivar released_at: when
    :ivar migration: UUID of Nova's migration it was taken for
    :ivar stats_period_seconds: how often its balloon driver told, and is to
                                tell again
    """

    original_kib: int
    source: str
    released_at: datetime.datetime
    migration: str
    stats_period_seconds: int

    def to_xml(self) -> str:
        """Write the entry as libvirt takes it.

        libvirt puts the element into our namespace itself, refuses one that
        is in it already, and takes it out again for who reads it.
        """
        element = etree.Element(
            'outstanding',
            attrib={
                'format': FORMAT,
                'original_kib': str(self.original_kib),
                'source': self.source,
                'released_at': self.released_at.isoformat(),
                'migration': self.migration,
                'stats_period_seconds': str(self.stats_period_seconds),
            },
        )
        return str(etree.tostring(element, encoding='unicode'))

    @classmethod
    def from_xml(cls, text: str) -> JournalEntry:
        """Read an entry.

        :param text: the metadata element
        :returns: what is owed
        :raises JournalUnreadable: it is damaged, or of another format
        """
        if len(text) > LONGEST_ENTRY_CHARACTERS:
            raise _unreadable(text, 'it is too long')
        try:
            element = validation.xml(text)
        except ValueError:
            raise _unreadable(text, 'it is not XML') from None
        if element.tag != 'outstanding':
            raise _unreadable(text, 'it is not what is owed')
        if element.get('format') != FORMAT:
            raise _unreadable(text, f'its format is not {FORMAT}')
        try:
            owed = cls(
                original_kib=validation.whole_number(
                    element.get('original_kib')
                ),
                source=_name(element.get('source')),
                released_at=_moment(element.get('released_at')),
                migration=_name(element.get('migration')),
                stats_period_seconds=validation.whole_number(
                    element.get('stats_period_seconds'),
                    domain_xml.LONGEST_STATS_PERIOD_SECONDS,
                ),
            )
        except (ValueError, OverflowError):
            raise _unreadable(
                text, 'an attribute is missing or wrong'
            ) from None
        if not owed.original_kib:
            raise _unreadable(text, 'it is about nothing')
        return owed


def write(domain: guests.Guest, owed: JournalEntry) -> None:
    """Note what a guest is owed.

    :param domain: the guest
    :param owed: what
    :raises LibvirtFault: it could not be written; then take nothing
    """
    domain.write_metadata(owed.to_xml())


def read(domain: guests.Guest) -> JournalEntry | None:
    """Look up what a guest is owed.

    :param domain: the guest
    :returns: what, or None where it is owed nothing
    :raises JournalUnreadable: there is an entry that makes no sense
    """
    text = domain.read_metadata()
    return None if text is None else JournalEntry.from_xml(text)


def erase(domain: guests.Guest) -> None:
    """Note that a guest has everything back.

    :param domain: the guest
    """
    domain.erase_metadata()


def _name(text: str | None) -> str:
    """Take a name that can be printed; Nova allows no other."""
    if (
        text
        and len(text) <= LONGEST_NAME_CHARACTERS
        and (text.isascii() and text.isprintable())
    ):
        return text
    raise ValueError('not a name')


def _moment(text: str | None) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text or '')
    if moment.tzinfo is None:
        raise ValueError('not known in which time zone')
    return moment.astimezone(datetime.UTC)


def _unreadable(text: str, problem: str) -> exceptions.JournalUnreadable:
    return exceptions.JournalUnreadable(
        entry=validation.quoted(text), problem=problem
    )

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

"""The outstanding memory of a guest, recorded in its libvirt domain.

The journal entry is written before the first page is released and erased
once the guest has all its memory again. It migrates with the guest, so that
the host that has the guest knows what is outstanding.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import dataclasses
import datetime
from typing import Any

from lxml import etree

from nova_freemem import conf
from nova_freemem import exceptions
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from nova_freemem.virt import validation

ELEMENT = 'outstanding'
# Raised only where a reader of the format before would restore the wrong
# thing. Attributes that such a reader may ignore can be added without.
FORMAT = 1
LONGEST_ENTRY_CHARACTERS = 4096

# From the entry to the start of the transfer, which libvirt shows as a job:
# the largest deadline_seconds, and a minute for what may be in progress then.
LONGEST_RELEASE_SECONDS = conf.LONGEST_DEADLINE_SECONDS + 60.0
LONGEST_NAME_CHARACTERS = 255


@dataclasses.dataclass(frozen=True)
class JournalEntry:
    """One journal entry.

    :ivar original_kib: memory the guest had, and is to have again
    :ivar source: host that released it, by the name that Nova has for it
    :ivar released_at: when it was released
    :ivar migration: UUID of Nova's migration it was released for
    :ivar stats_period_seconds: statistics period of the balloon driver
                                before the release, and again afterwards
    :ivar node: that host by the name that libvirt has for it, which the
                commands know as well; None where an earlier nova-freemem
                wrote the entry
    """

    original_kib: int
    source: str
    released_at: datetime.datetime
    migration: str
    stats_period_seconds: int
    node: str | None = None

    def is_of_release_under_way(self, host: str, now_seconds: float) -> bool:
        """Return whether the release it was written for may be under way.

        :param host: this host by the name that libvirt has for it; of its
                     domain part nothing counts, because it depends on the
                     resolver
        :param now_seconds: of the wall clock
        :returns: False where the guest has moved since, or the release has
                  ended by now
        """
        age_seconds = now_seconds - self.released_at.timestamp()
        written_on = self.node or self.source
        return (
            written_on.split('.')[0] == host.split('.')[0]
            and abs(age_seconds) < LONGEST_RELEASE_SECONDS
        )

    def to_xml(self) -> str:
        """Return the entry as libvirt takes it.

        libvirt puts the element into our namespace itself, refuses one that
        is in it already, and removes the namespace when the element is read.
        """
        element = etree.Element(
            ELEMENT,
            attrib={
                'format': str(FORMAT),
                'original_kib': str(self.original_kib),
                'source': self.source,
                'released_at': self.released_at.isoformat(),
                'migration': self.migration,
                'stats_period_seconds': str(self.stats_period_seconds),
            },
        )
        if self.node is not None:
            element.set('node', self.node)
        return str(etree.tostring(element, encoding='unicode'))

    @classmethod
    def from_xml(cls, text: str) -> JournalEntry:
        """Parse an entry.

        All attributes of this format must be present and valid; others are
        ignored, but for ``node``, which entries of this format may lack.

        :param text: the metadata element
        :returns: the entry
        :raises JournalUnreadable: it is damaged, or of another format
        """
        if len(text) > LONGEST_ENTRY_CHARACTERS:
            raise _unreadable(
                text,
                f'it is longer than {LONGEST_ENTRY_CHARACTERS} characters',
            )
        try:
            element = validation.xml(text)
        except ValueError:
            raise _unreadable(text, 'it is not XML') from None
        if element.tag != ELEMENT:
            raise _unreadable(text, f'it is not an element <{ELEMENT}>')
        _check_format(element.get('format'), text)
        values = {}
        for name, parse in _PARSERS.items():
            try:
                values[name] = parse(element.get(name))
            except (ValueError, OverflowError):
                problem = 'not valid' if name in element.attrib else 'missing'
                raise _unreadable(text, f'its {name} is {problem}') from None
        with contextlib.suppress(ValueError):
            values['node'] = _name(element.get('node'))
        return cls(**values)


class Record:
    """The journal entry of one migration, kept for as long as it is true.

    Others write to the journal as well: the commands, Nova where it defines
    the domain anew, an operator with virsh.

    :ivar entry: what the migration wrote, None before
    """

    def __init__(self, guest: guests.Guest) -> None:
        """Initialize it with no entry.

        :param guest: the guest
        """
        self._guest = guest
        self.entry: JournalEntry | None = None

    def write(self, entry: JournalEntry) -> None:
        """Write the entry, and keep it from now on.

        :param entry: the entry
        :raises LibvirtError: it could not be written; release nothing then
        """
        write(self._guest, entry)
        self.entry = entry

    def is_gone(self) -> bool:
        """Return whether the entry ought to be in the journal and is not.

        This waits for no job of libvirt's.

        :raises LibvirtError: the journal could not be read
        """
        return self.entry is not None and self._guest.read_metadata() is None

    def keep(self) -> None:
        """Write the entry again where it is gone.

        :raises LibvirtError: it could not be read or written
        """
        if self.entry is not None and self.is_gone():
            write(self._guest, self.entry)

    def forget(self) -> None:
        """Keep the entry no longer: it is not true any more."""
        self.entry = None


def write(guest: guests.Guest, entry: JournalEntry) -> None:
    """Record that memory of a guest is outstanding.

    :param guest: the guest
    :param entry: the entry
    :raises LibvirtError: it could not be written; release nothing then
    """
    guest.write_metadata(entry.to_xml())


def read(guest: guests.Guest) -> JournalEntry | None:
    """Read the journal entry of a guest.

    :param guest: the guest
    :returns: the entry, or None where no memory is outstanding
    :raises JournalUnreadable: there is an entry that cannot be read
    """
    text = guest.read_metadata()
    return None if text is None else JournalEntry.from_xml(text)


def erase(guest: guests.Guest) -> None:
    """Record that no memory of a guest is outstanding.

    :param guest: the guest
    """
    guest.erase_metadata()


def _check_format(number: str | None, text: str) -> None:
    """Raise JournalUnreadable if an entry is of another format."""
    if number == str(FORMAT):
        return
    try:
        newer = validation.whole_number(number) > FORMAT
    except ValueError:
        newer = False
    if newer:
        raise _unreadable(
            text,
            f'it has format {number}, of a newer nova-freemem (upgrade this '
            'one)',
        )
    raise _unreadable(text, f'its format is not {FORMAT}')


def _amount(text: str | None) -> int:
    number = validation.whole_number(text)
    if not number:
        raise ValueError('no memory')
    return number


def _name(text: str | None) -> str:
    """Return a name that can be printed; Nova allows no other."""
    if (
        text
        and len(text) <= LONGEST_NAME_CHARACTERS
        and (text.isascii() and text.isprintable())
    ):
        return text
    raise ValueError('not a name')


def _time(text: str | None) -> datetime.datetime:
    time = datetime.datetime.fromisoformat(text or '')
    if time.tzinfo is None:
        raise ValueError('no time zone')
    return time.astimezone(datetime.UTC)


def _period(text: str | None) -> int:
    return validation.whole_number(
        text, domain_xml.LONGEST_STATS_PERIOD_SECONDS
    )


_PARSERS: Mapping[str, Callable[[str | None], Any]] = {
    'original_kib': _amount,
    'source': _name,
    'released_at': _time,
    'migration': _name,
    'stats_period_seconds': _period,
}


def _unreadable(text: str, problem: str) -> exceptions.JournalUnreadable:
    return exceptions.JournalUnreadable(
        entry=validation.quoted(text), problem=problem
    )

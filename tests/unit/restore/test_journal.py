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

"""Outstanding memory is recorded, and read by the host that has the guest."""

import dataclasses
import datetime
import time

import hypothesis
from hypothesis import strategies

from nova_freemem import exceptions
from nova_freemem.restore import journal
from tests import base
from tests.simulation.base import GuestTestCase

OUTSTANDING = journal.JournalEntry(
    original_kib=4194304,
    source='host1',
    released_at=datetime.datetime(2026, 11, 2, 8, 0, tzinfo=datetime.UTC),
    migration='7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2',
    stats_period_seconds=10,
)

# As seen with libvirt 11.3: it refuses an element in our namespace, puts it
# in itself, and takes it out again for who reads it.
ENTRY = (
    '<outstanding format="1" original_kib="4194304" source="host1" '
    'released_at="2026-11-02T08:00:00+00:00" '
    'migration="7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2" '
    'stats_period_seconds="10"/>'
)

BILLION_LAUGHS = (
    '<!DOCTYPE outstanding [<!ENTITY a "1">'
    + ''.join(
        f'<!ENTITY {chr(98 + depth)} "{f"&{chr(97 + depth)};" * 10}">'
        for depth in range(9)
    )
    + ']>'
    + ENTRY.replace('4194304', '&j;')
)


class JournalTest(GuestTestCase):
    def test_an_entry_is_read_as_it_was_written(self) -> None:
        journal.write(self.domain, OUTSTANDING)
        self.assertEqual(ENTRY, self.guest.metadata)
        self.assertEqual(OUTSTANDING, journal.read(self.domain))

    def test_a_host_has_a_second_name_in_it(self) -> None:
        entry = dataclasses.replace(OUTSTANDING, node='host1.example.org')
        journal.write(self.domain, entry)
        self.assertEqual(
            ENTRY.replace('/>', ' node="host1.example.org"/>'),
            self.guest.metadata,
        )
        self.assertEqual(entry, journal.read(self.domain))

    def test_a_second_name_that_is_none_is_ignored(self) -> None:
        self.guest.metadata = ENTRY.replace('/>', ' node="\x7f"/>')
        self.assertEqual(OUTSTANDING, journal.read(self.domain))

    def test_without_an_entry_no_memory_is_outstanding(self) -> None:
        self.assertIsNone(journal.read(self.domain))

    def test_an_erased_entry_is_gone(self) -> None:
        journal.write(self.domain, OUTSTANDING)
        journal.erase(self.domain)
        self.assertIsNone(journal.read(self.domain))


class RecordTest(GuestTestCase):
    """The entry of a migration that knows what it released."""

    def setUp(self) -> None:
        super().setUp()
        self.record = journal.Record(self.domain)

    def test_before_it_is_written_nothing_is_kept(self) -> None:
        self.assertFalse(self.record.is_gone())
        self.record.keep()
        self.assertEqual([], self.domain.calls)

    def test_an_entry_that_somebody_erased_is_written_again(self) -> None:
        self.record.write(OUTSTANDING)
        self.assertFalse(self.record.is_gone())
        self.guest.metadata = None
        self.assertTrue(self.record.is_gone())
        self.record.keep()
        self.assertEqual(ENTRY, self.guest.metadata)

    def test_an_entry_that_somebody_replaced_is_theirs(self) -> None:
        self.record.write(OUTSTANDING)
        self.guest.metadata = '<outstanding format="2"/>'
        self.record.keep()
        self.assertEqual('<outstanding format="2"/>', self.guest.metadata)

    def test_an_entry_that_is_not_true_any_more_stays_erased(self) -> None:
        self.record.write(OUTSTANDING)
        self.record.forget()
        self.guest.metadata = None
        self.record.keep()
        self.assertIsNone(self.guest.metadata)


class ReleaseUnderWayTest(base.TestCase):
    """Whether the release that an entry was written for may go on."""

    def is_under_way(self, host: str, age_seconds: float) -> bool:
        return OUTSTANDING.is_of_release_under_way(
            host, OUTSTANDING.released_at.timestamp() + age_seconds
        )

    def test_a_young_entry_of_this_host_is_of_one(self) -> None:
        for host in ('host1', 'host1.example.org'):
            self.assertTrue(self.is_under_way(host, 0))
        self.assertTrue(self.is_under_way('host1', 3659))
        self.assertFalse(self.is_under_way('host1', 3660))

    def test_libvirts_name_of_the_host_counts_where_the_entry_has_it(
        self,
    ) -> None:
        for source, node, is_ours in (
            ('compute-7', 'host1.example.org', True),
            ('host1', 'host2', False),
        ):
            entry = dataclasses.replace(OUTSTANDING, source=source, node=node)
            now = entry.released_at.timestamp()
            self.assertIs(is_ours, entry.is_of_release_under_way('host1', now))

    def test_an_entry_from_another_host_has_come_with_its_guest(self) -> None:
        self.assertFalse(self.is_under_way('host10', 1))

    def test_an_entry_of_the_far_future_is_of_none(self) -> None:
        self.assertFalse(self.is_under_way('host1', -3660))


class UnreadableTest(base.TestCase):
    def assert_unreadable(self, problem: str, text: str) -> str:
        error = self.assertRaises(
            exceptions.JournalUnreadable, journal.JournalEntry.from_xml, text
        )
        self.assertTrue(str(error).startswith(f'{problem}: '), str(error))
        return str(error)

    def test_what_is_not_xml(self) -> None:
        for text in (
            '',
            'outstanding',
            ENTRY[:-2],
            '\0',
            '\ud800',
            '<?xml version="1.0" encoding="utf-8"?>' + ENTRY,
        ):
            self.assert_unreadable('it is not XML', text)

    def test_another_element(self) -> None:
        self.assert_unreadable(
            'it is not an element <outstanding>',
            ENTRY.replace('<outstanding', '<other'),
        )

    def test_an_entry_of_a_newer_format_asks_for_an_upgrade(self) -> None:
        for number in (2, 10, 99):
            self.assert_unreadable(
                f'it has format {number}, of a newer nova-freemem (upgrade '
                'this one)',
                ENTRY.replace('format="1"', f'format="{number}"'),
            )

    def test_an_entry_without_a_format_of_ours(self) -> None:
        for number in ('', '0', '01', '-2', 'two', '1.5', ' 1', '9' * 50):
            self.assert_unreadable(
                'its format is not 1',
                ENTRY.replace('format="1"', f'format="{number}"'),
            )
        self.assert_unreadable(
            'its format is not 1', ENTRY.replace('format="1"', '')
        )

    def test_what_a_later_version_adds_to_this_format_is_ignored(
        self,
    ) -> None:
        self.assertEqual(
            OUTSTANDING,
            journal.JournalEntry.from_xml(
                ENTRY.replace('/>', ' later="yes"><later/></outstanding>')
            ),
        )

    def test_a_missing_attribute(self) -> None:
        for name in (
            'original_kib',
            'source',
            'released_at',
            'migration',
            'stats_period_seconds',
        ):
            self.assert_unreadable(
                f'its {name} is missing',
                ENTRY.replace(f'{name}=', f'x{name}='),
            )

    def assert_not_valid(self, name: str, right: str, wrong: str) -> None:
        self.assert_unreadable(
            f'its {name} is not valid', ENTRY.replace(right, wrong)
        )

    def test_a_wrong_attribute(self) -> None:
        for name, right, wrong in (
            ('original_kib', '4194304', 'plenty'),
            ('original_kib', '4194304', '4.5'),
            ('stats_period_seconds', '"10"', '"often"'),
            ('released_at', '2026-11-02T08', 'today'),
        ):
            self.assert_not_valid(name, right, wrong)

    def test_an_entry_about_no_memory(self) -> None:
        for amount in ('0', '-4194304'):
            self.assert_not_valid('original_kib', '4194304', amount)

    def test_figures_that_libvirt_does_not_accept(self) -> None:
        # The call that restores the memory failed with OverflowError.
        for wrong in (
            '9' * 3000,
            str(1 << 63),
            '4_194_304',
            ' 4 ',
            '\u0664',
        ):
            self.assert_not_valid('original_kib', '4194304', wrong)
        for wrong in (f'"{1 << 31}"', '"-1"'):
            self.assert_not_valid('stats_period_seconds', '"10"', wrong)

    def test_names_with_control_characters(self) -> None:
        # "nova-freemem list" prints them.
        for name in ('', '&#10;ERROR', '&#x9b;2J', '\u202ehost1', 'h' * 256):
            self.assert_not_valid('source', 'host1', name)

    def test_times_that_cannot_be_compared_with_now(self) -> None:
        for time_ in (
            '2026-11-02T08:00:00',
            '0001-01-01T00:00:00+23:59',
            '9999-12-31T23:59:59-23:59',
        ):
            self.assert_not_valid(
                'released_at', '2026-11-02T08:00:00+00:00', time_
            )

    def test_an_entry_that_is_too_long_is_not_parsed(self) -> None:
        message = self.assert_unreadable(
            'it is longer than 4096 characters',
            ENTRY + ' ' * journal.LONGEST_ENTRY_CHARACTERS,
        )
        self.assertLess(len(message), 400)

    def test_entities_do_not_expand(self) -> None:
        started_at = time.process_time()
        self.assert_unreadable('it is not XML', BILLION_LAUGHS)
        self.assertLess(time.process_time() - started_at, 1)

    def test_files_of_the_host_are_not_read(self) -> None:
        error = self.assertRaises(
            exceptions.JournalUnreadable,
            journal.JournalEntry.from_xml,
            '<!DOCTYPE outstanding [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
            '<outstanding format="1">&a;</outstanding>',
        )
        self.assertNotIn('root:', str(error))

    def test_the_message_is_one_line_whatever_the_entry_is(self) -> None:
        message = self.assert_unreadable('it is not XML', 'a\nERROR b\x1b[2J')
        self.assertNotIn('\n', message)
        self.assertNotIn('\x1b', message)

    @hypothesis.given(
        strategies.text(strategies.characters(codec=None), max_size=5000)
    )
    def test_any_text_is_refused_in_one_way(self, text: str) -> None:
        self.assertRaises(
            exceptions.JournalUnreadable, journal.JournalEntry.from_xml, text
        )

    @hypothesis.given(
        position=strategies.integers(0, len(ENTRY)),
        length=strategies.integers(0, 20),
        text=strategies.text(max_size=20),
    )
    def test_a_damaged_entry_is_read_or_refused(
        self, position: int, length: int, text: str
    ) -> None:
        damaged = ENTRY[:position] + text + ENTRY[position + length :]
        try:
            entry = journal.JournalEntry.from_xml(damaged)
        except exceptions.JournalUnreadable:
            return
        self.assertGreater(entry.original_kib, 0)

    @hypothesis.given(
        original_kib=strategies.integers(1, 1 << 50),
        source=strategies.from_regex(r'[a-zA-Z0-9_.-]{1,255}', fullmatch=True),
        released_at=strategies.datetimes(
            timezones=strategies.just(datetime.UTC)
        ),
        migration=strategies.uuids().map(str),
        stats_period_seconds=strategies.integers(0, 1 << 30),
        node=strategies.none()
        | strategies.from_regex(r'[a-zA-Z0-9_.-]{1,255}', fullmatch=True),
    )
    def test_any_entry_survives_the_round_trip(self, **values: object) -> None:
        entry = journal.JournalEntry(**values)
        self.assertEqual(entry, journal.JournalEntry.from_xml(entry.to_xml()))

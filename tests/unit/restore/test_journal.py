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

"""What is owed is written down, and read by whoever has the guest."""

import datetime
import time

import hypothesis
from hypothesis import strategies

from nova_freemem import exceptions
from nova_freemem.restore import journal
from tests import base

OWED = journal.JournalEntry(
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
    '<!DOCTYPE owed [<!ENTITY a "1">'
    + ''.join(
        f'<!ENTITY {chr(98 + depth)} "{f"&{chr(97 + depth)};" * 10}">'
        for depth in range(9)
    )
    + ']>'
    + ENTRY.replace('4194304', '&j;')
)


class JournalTest(base.GuestTestCase):
    def test_an_entry_is_read_as_it_was_written(self) -> None:
        journal.write(self.domain, OWED)
        self.assertEqual(ENTRY, self.guest.metadata)
        self.assertEqual(OWED, journal.read(self.domain))

    def test_a_guest_without_entry_is_owed_nothing(self) -> None:
        self.assertIsNone(journal.read(self.domain))

    def test_an_erased_entry_is_gone(self) -> None:
        journal.write(self.domain, OWED)
        journal.erase(self.domain)
        self.assertIsNone(journal.read(self.domain))


class UnreadableTest(base.TestCase):
    def assert_unreadable(self, problem: str, text: str) -> str:
        error = self.assertRaises(
            exceptions.JournalUnreadable, journal.JournalEntry.from_xml, text
        )
        self.assertTrue(str(error).endswith(problem), str(error))
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
            'it is not what is owed', ENTRY.replace('<outstanding', '<paid')
        )

    def test_an_entry_of_a_newer_plugin(self) -> None:
        self.assert_unreadable(
            'its format is not 1', ENTRY.replace('format="1"', 'format="2"')
        )

    def test_an_entry_without_format(self) -> None:
        self.assert_unreadable(
            'its format is not 1', ENTRY.replace('format="1"', '')
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
                'an attribute is missing or wrong',
                ENTRY.replace(f'{name}=', f'x{name}='),
            )

    def test_a_wrong_attribute(self) -> None:
        for right, wrong in (
            ('4194304', 'plenty'),
            ('4194304', '4.5'),
            ('4194304', '9' * 5000),
            ('"10"', '"often"'),
            ('2026-11-02T08', 'today'),
        ):
            text = ENTRY.replace(right, wrong)
            if len(text) <= journal.LONGEST_ENTRY_CHARACTERS:
                self.assert_unreadable(
                    'an attribute is missing or wrong', text
                )

    def test_no_memory_owed(self) -> None:
        for amount in ('0', '-4194304'):
            self.assertRaises(
                exceptions.JournalUnreadable,
                journal.JournalEntry.from_xml,
                ENTRY.replace('4194304', amount),
            )

    def test_figures_that_libvirt_would_not_take(self) -> None:
        # They made OverflowError of the call that gives the memory back.
        for right, wrong in (
            ('4194304', '9' * 3000),
            ('4194304', 1 << 63),
            ('"10"', f'"{1 << 31}"'),
            ('"10"', '"-1"'),
            ('4194304', '4_194_304'),
            ('4194304', ' 4 '),
            ('4194304', '\u0664'),
        ):
            self.assert_unreadable(
                'an attribute is missing or wrong',
                ENTRY.replace(right, str(wrong)),
            )

    def test_names_that_draw_on_the_terminal(self) -> None:
        # Who lists what is owed prints them.
        for name in ('', '&#10;ERROR', '&#x9b;2J', '\u202ehost1', 'h' * 256):
            self.assert_unreadable(
                'an attribute is missing or wrong',
                ENTRY.replace('host1', name),
            )

    def test_moments_that_cannot_be_compared_with_now(self) -> None:
        for moment in (
            '2026-11-02T08:00:00',
            '0001-01-01T00:00:00+23:59',
            '9999-12-31T23:59:59-23:59',
        ):
            self.assert_unreadable(
                'an attribute is missing or wrong',
                ENTRY.replace('2026-11-02T08:00:00+00:00', moment),
            )

    def test_an_entry_too_long_is_not_even_parsed(self) -> None:
        message = self.assert_unreadable(
            'it is too long', ENTRY + ' ' * journal.LONGEST_ENTRY_CHARACTERS
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
            '<!DOCTYPE owed [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
            '<outstanding format="1">&a;</owed>',
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
            owed = journal.JournalEntry.from_xml(damaged)
        except exceptions.JournalUnreadable:
            return
        self.assertGreater(owed.original_kib, 0)

    @hypothesis.given(
        original_kib=strategies.integers(1, 1 << 50),
        source=strategies.from_regex(r'[a-zA-Z0-9_.-]{1,255}', fullmatch=True),
        released_at=strategies.datetimes(
            timezones=strategies.just(datetime.UTC)
        ),
        migration=strategies.uuids().map(str),
        stats_period_seconds=strategies.integers(0, 1 << 30),
    )
    def test_any_entry_survives_the_round_trip(self, **values: object) -> None:
        owed = journal.JournalEntry(**values)
        self.assertEqual(owed, journal.JournalEntry.from_xml(owed.to_xml()))

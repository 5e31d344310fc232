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


"""What comes from outside is typed, bounded and quoted."""

import hypothesis
from hypothesis import strategies

from nova_freemem.virt import validation
from tests import base

LARGEST = validation.LARGEST


class QuotedTest(base.TestCase):
    def test_plain_text_stays_readable(self) -> None:
        self.assertEqual("'no agent'", validation.quoted('no agent'))
        self.assertEqual('7', validation.quoted(ValueError('7')).strip("'"))

    def test_nothing_in_it_moves_the_cursor(self) -> None:
        self.assertEqual(
            r"'a\nERROR \x1b[2J\u202e'",
            validation.quoted('a\nERROR \x1b[2J\u202e'),
        )

    def test_it_shows_that_it_was_cut(self) -> None:
        quoted = validation.quoted('\x1b' * (4 << 20))
        self.assertTrue(quoted.endswith('...'))
        self.assertEqual(203, len(quoted))

    @hypothesis.given(strategies.text(strategies.characters(codec=None)))
    def test_any_text_becomes_one_short_plain_line(self, text: str) -> None:
        quoted = validation.quoted(text)
        self.assertLessEqual(len(quoted), 203)
        self.assertTrue(quoted.isascii() and quoted.isprintable())


class AmountTest(base.TestCase):
    def test_amounts_are_taken(self) -> None:
        for value in (0, 1, 4 << 20, LARGEST):
            self.assertEqual(value, validation.amount(value))

    def test_all_else_is_absent(self) -> None:
        for value in (None, True, False, -1, LARGEST + 1, 1.0, '1', b'1', []):
            self.assertIsNone(validation.amount(value))


class WholeNumberTest(base.TestCase):
    def test_digits_are_a_number(self) -> None:
        for text, number in (('0', 0), ('007', 7), (str(LARGEST), LARGEST)):
            self.assertEqual(number, validation.whole_number(text))

    def test_what_int_would_take_besides_is_none(self) -> None:
        for text in (
            None,
            '',
            '+1',
            '-1',
            ' 1',
            '1\n',
            '1_0',
            '\u0661',
            '1.0',
            '1e3',
            '0x1',
            '9' * 20,
            str(LARGEST + 1),
        ):
            self.assertRaises(ValueError, validation.whole_number, text)

    def test_the_bound_is_the_last_that_is_taken(self) -> None:
        self.assertEqual(9, validation.whole_number('9', 9))
        self.assertRaises(ValueError, validation.whole_number, '10', 9)


class XmlTest(base.TestCase):
    def test_a_document_is_read(self) -> None:
        self.assertEqual('b', validation.xml('<a c="b"/>').get('c'))

    def test_an_entity_stands_for_nothing(self) -> None:
        document = validation.xml(
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
        )
        self.assertNotIn('root:', ''.join(document.itertext()))

    def test_what_is_not_xml_is_a_value_error(self) -> None:
        for text in (
            '',
            'a',
            '<a>',
            '\0',
            '\ud800',
            '<a>' * 9999,
            '<?xml version="1.0" encoding="utf-8"?><a/>',
        ):
            self.assertRaises(ValueError, validation.xml, text)


class JsonTest(base.TestCase):
    def test_a_value_is_read(self) -> None:
        self.assertEqual(
            {'return': [1]}, validation.from_json('{"return": [1]}')
        )

    def test_what_is_none_or_too_deep_is_a_value_error(self) -> None:
        for text in (
            '',
            'no',
            '{',
            '[' * 99_999,
            '{"a":' * 99_999,
            '9' * 5000,
        ):
            self.assertRaises(ValueError, validation.from_json, text)

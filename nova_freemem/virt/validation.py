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

"""Input from outside: its type and bounds checked, or quoted for a log.

A guest controls what its agent and its balloon driver report, and anybody
may write into a domain's metadata. These functions raise nothing but
``ValueError``, and their run time is linear in the length of their input.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lxml import etree

# The largest that C and libvirt's calls take, whatever the unit.
LARGEST = (1 << 63) - 1

LONGEST_QUOTE_CHARACTERS = 200

_WHOLE_NUMBER = re.compile(r'[0-9]{1,19}')


def quoted(text: object) -> str:
    """Quote a text for one line of a log.

    :param text: from outside
    :returns: printable ASCII on one line, quoted; cut where it is long
    """
    plain = ascii(str(text)[:LONGEST_QUOTE_CHARACTERS])
    if len(plain) <= LONGEST_QUOTE_CHARACTERS:
        return plain
    return f'{plain[:LONGEST_QUOTE_CHARACTERS]}...'


def amount(value: object) -> int | None:
    """Return a value if it is an amount.

    :param value: from outside
    :returns: the amount, or None: absent is not zero
    """
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    return None


def whole_number(text: str | None, largest: int = LARGEST) -> int:
    """Parse a whole number as programs write it.

    :param text: decimal digits and nothing else
    :param largest: the upper bound
    :returns: the number
    :raises ValueError: it is not a whole number, or above the bound
    """
    if text is None or not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError('not a whole number')
    number = int(text)
    if number > largest:
        raise ValueError(f'a number above {largest}')
    return number


def from_json(text: str) -> Any:
    """Parse JSON.

    :param text: the document, whose length the caller has bounded
    :returns: its value
    :raises ValueError: it is not JSON, or nested too deep
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('not JSON') from None


def xml(text: str) -> etree._Element:
    """Parse XML without expanding entities or reading anything else.

    :param text: the document
    :returns: its root
    :raises ValueError: it is not XML
    """
    # A parser keeps the errors of what it parsed last: each text its own.
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False
    )
    try:
        return etree.fromstring(text, parser)
    except etree.XMLSyntaxError:
        raise ValueError('not XML') from None

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


"""What comes from outside, made fit to be used: typed, bounded, quoted.

A guest writes what its agent and its balloon say, and anybody may have
written into a domain's metadata. None of these functions raises anything but
``ValueError``, and none takes longer than its input is long.
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
    """Make a text fit for a line of a log.

    :param text: what somebody else said
    :returns: plain ASCII on one line, quoted; cut where it is long
    """
    plain = ascii(str(text)[:LONGEST_QUOTE_CHARACTERS])
    if len(plain) <= LONGEST_QUOTE_CHARACTERS:
        return plain
    return f'{plain[:LONGEST_QUOTE_CHARACTERS]}...'


def amount(value: object) -> int | None:
    """Take an amount if it is one.

    :param value: what is_current where an amount belongs
    :returns: the amount, or None: absent is not zero
    """
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    return None


def whole_number(text: str | None, largest: int = LARGEST) -> int:
    """Read a whole number as programs write it.

    :param text: decimal digits and nothing else
    :param largest: the bound
    :returns: the number
    :raises ValueError: it is none, or above the bound
    """
    if text is None or not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError('not a whole number')
    number = int(text)
    if number > largest:
        raise ValueError(f'a number above {largest}')
    return number


def from_json(text: str) -> Any:
    """Read JSON.

    :param text: the document, of a length that somebody has bounded
    :returns: its value
    :raises ValueError: it is not JSON, or too deep
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('not JSON') from None


def xml(text: str) -> etree._Element:
    """Parse XML; no entity is expanded and nothing else is read for it.

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

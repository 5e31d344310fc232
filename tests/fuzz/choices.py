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


"""Values made of bytes, for targets that need more than text."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar('T')

# Amounts at limits: of nothing and of small units, of the guest in planning.py
# and migration.py, of what C and JSON can just hold or just not.
EDGES = (
    0,
    1,
    1023,
    1024,
    4 << 20,
    (4 << 20) + 1,
    8 << 20,
    (1 << 31) - 1,
    1 << 32,
    (1 << 53) + 1,
    (1 << 63) - 1,
    (1 << 64) - 1,
    10**400,
)


class Choices:
    """What a guest does next, as chosen by bytes.

    After the last byte follows the first: what a guest does it can do for
    ever.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data or b'\0'
        self._at = 0

    def number(self, largest: int) -> int:
        """:returns: a number from 0 to the largest."""
        value = 0
        for _byte in range((largest.bit_length() + 7) // 8):
            value = value << 8 | self._data[self._at % len(self._data)]
            self._at += 1
        return value % (largest + 1)

    def of(self, options: Sequence[T]) -> T:
        """:returns: one of the options."""
        return options[self.number(len(options) - 1)]

    def amount(self) -> int:
        """:returns: a possible amount, or one at a limit."""
        if self.number(3):
            return self.number(8 << 20)
        return self.of(EDGES)

    def value(self) -> object:
        """:returns: anything that a guest may send for an amount."""
        if self.number(7):
            return self.amount()
        return self.of(
            (None, True, -1, -(1 << 63), 2.5, float('nan'), '7', b'7', [], {})
        )

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


"""Bytes made into values, for targets that take more than text."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar('T')

# Where amounts change their meaning: nothing, the small, the guest of
# planning.py and migration.py, what C and JSON can just hold or just not.
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
    """What a guest does next, as bytes decide.

    Where the bytes end they start again: what a guest does, it can go on
    doing for ever.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data or b'\0'
        self._at = 0

    def number(self, largest: int) -> int:
        """:returns: 0 to the largest."""
        value = 0
        for _byte in range((largest.bit_length() + 7) // 8):
            value = value << 8 | self._data[self._at % len(self._data)]
            self._at += 1
        return value % (largest + 1)

    def of(self, options: Sequence[T]) -> T:
        """:returns: one of the options."""
        return options[self.number(len(options) - 1)]

    def amount(self) -> int:
        """:returns: an amount that could be, or one at an edge."""
        if self.number(3):
            return self.number(8 << 20)
        return self.of(EDGES)

    def value(self) -> object:
        """:returns: what may stand where an amount belongs."""
        if self.number(7):
            return self.amount()
        return self.of(
            (None, True, -1, -(1 << 63), 2.5, float('nan'), '7', b'7', [], {})
        )

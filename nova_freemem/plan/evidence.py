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

"""A figure of this host that is learnt from its guests."""

from __future__ import annotations

import dataclasses
import statistics

# What was seen is worth half after this long: a host that was busy then may
# be idle now. After a day nothing but the first guess is left of it.
HALF_LIFE_SECONDS = 6 * 3600.0

# How far from the first guess anything learnt can be. Published figures of one
# kind differ by a factor of 36 (memory of 4 KiB pages, and of huge ones, that
# a guest gives up in a second). The slowest guests of the simulation give up a
# thirteenth of the first guess.
LEAST_SHARE = 1 / 16
MOST_TIMES = 64.0

# Guests that are remembered; many more than leave a host in a day.
MOST_GUESTS = 1000


@dataclasses.dataclass(frozen=True)
class _Seen:
    value: float
    at_seconds: float


class Evidence:
    """What several guests showed, and what that says of the next one.

    A guest decides by itself only what is expected of itself. For others the
    median counts, in which the first guess is one voice and each guest is
    another: one guest that is starved, or hostile, changes nothing for them.

    :ivar first_guess: what is expected where nothing has been seen
    """

    def __init__(self, first_guess: float) -> None:
        """Initialize it with nothing seen.

        :param first_guess: above 0
        """
        self.first_guess = first_guess
        self._guests: dict[str, _Seen] = {}

    def add(self, guest: str, value: float, now_seconds: float) -> None:
        """Note what a guest showed; only its latest figure counts.

        :param guest: its UUID
        :param value: the figure, above 0
        :param now_seconds: monotonic
        """
        self._guests.pop(guest, None)
        for oldest in list(self._guests):
            if len(self._guests) < MOST_GUESTS:
                break
            self._guests.pop(oldest, None)
        bounded = min(
            self.first_guess * MOST_TIMES,
            max(self.first_guess * LEAST_SHARE, value),
        )
        self._guests[guest] = _Seen(bounded, now_seconds)

    def has(self, guest: str) -> bool:
        """Return whether a guest has shown something.

        :param guest: its UUID
        """
        return guest in self._guests

    def expected(
        self,
        guest: str,
        now_seconds: float,
        first_guess: float | None = None,
    ) -> float:
        """Return what is to be expected of a guest.

        :param guest: its UUID
        :param now_seconds: monotonic
        :param first_guess: a better one, by what else has been seen
        :returns: what it showed itself; what most others did; or the first
                  guess
        """
        own = self._guests.get(guest)
        if own is not None:
            return self._aged(own, now_seconds)
        if first_guess is None:
            first_guess = self.first_guess
        voices = [
            first_guess,
            *(
                self._aged(seen, now_seconds)
                for seen in list(self._guests.values())
            ),
        ]
        # Of an even number, the middle one that is nearer to the guess.
        return min(
            statistics.median_low(voices),
            statistics.median_high(voices),
            key=lambda value: abs(value - first_guess),
        )

    def _aged(self, seen: _Seen, now_seconds: float) -> float:
        """Return what is left of a figure: it drifts to the first guess."""
        age = (now_seconds - seen.at_seconds) / HALF_LIFE_SECONDS
        share = 0.5 ** max(0.0, age)
        return float(
            self.first_guess * (seen.value / self.first_guess) ** share
        )

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

"""What the migrations from this host send, over the interface they share.

Migrations to this host do not count: a network carries them in the other
direction.
"""

from __future__ import annotations

# What is kept of a migration: more than the windows of one that it shares the
# path with go back.
MOST_READINGS = 100
KEPT_SECONDS = 60.0


class Sender:
    """One migration: it will send, sends, or has sent."""

    def __init__(self) -> None:
        """Initialize it before it sends."""
        # Replaced, never changed: other threads read it.
        self._readings: tuple[tuple[float, float], ...] = ()
        self._ended_at_seconds: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it sends no more."""
        return self._ended_at_seconds is not None

    def read(self, now_seconds: float, sent_kib: float | None) -> None:
        """Take in how much it has sent.

        :param now_seconds: monotonic
        :param sent_kib: by now; None where nothing tells, as before the
                         transfer
        """
        last_kib = self._readings[-1][1] if self._readings else 0.0
        reading = now_seconds, max(last_kib, sent_kib or 0.0)
        self._readings = (*self._readings[1 - MOST_READINGS :], reading)

    def end(self, now_seconds: float) -> None:
        """Take in that it has ended; again changes nothing.

        :param now_seconds: monotonic
        """
        if self._ended_at_seconds is None:
            self._ended_at_seconds = now_seconds

    def ended_before(self, seconds: float) -> bool:
        """Return whether it had ended by then.

        :param seconds: monotonic
        """
        return (
            self._ended_at_seconds is not None
            and self._ended_at_seconds <= seconds
        )

    def sent_kib(self, from_seconds: float, to_seconds: float) -> float | None:
        """Return what it sent in some time.

        :param from_seconds: monotonic
        :param to_seconds: monotonic
        :returns: KiB; None where that is not known, or not yet
        """
        readings = self._readings
        if not readings or to_seconds <= readings[0][0]:
            return 0.0
        if self.ended_before(from_seconds):
            return 0.0
        if to_seconds > readings[-1][0]:
            return None
        return _at(readings, to_seconds) - _at(readings, from_seconds)


class Traffic:
    """All migrations from this host that are under way."""

    def __init__(self) -> None:
        """Initialize it with none."""
        # A set in order. Each of its steps is one of the interpreter's: other
        # migrations begin and end meanwhile.
        self._senders: dict[Sender, None] = {}

    def add(self, sender: Sender, now_seconds: float) -> None:
        """Add a migration, which counts until it has ended.

        :param sender: the migration
        :param now_seconds: monotonic
        """
        for one in list(self._senders):
            if one.ended_before(now_seconds - KEPT_SECONDS):
                self._senders.pop(one, None)
        self._senders[sender] = None

    def beside(self, sender: Sender | None = None) -> int:
        """Return how many are under way.

        :param sender: one that does not count
        """
        return sum(
            not one.has_ended
            for one in list(self._senders)
            if one is not sender
        )

    def sent_beside_kib(
        self, sender: Sender, from_seconds: float, to_seconds: float
    ) -> float | None:
        """Return what all but one sent in some time.

        :param sender: that one
        :param from_seconds: monotonic
        :param to_seconds: monotonic
        :returns: KiB; None where that is not known, or not yet
        """
        total_kib = 0.0
        for one in list(self._senders):
            if one is not sender:
                sent_kib = one.sent_kib(from_seconds, to_seconds)
                if sent_kib is None:
                    return None
                total_kib += sent_kib
        return total_kib


def _at(readings: tuple[tuple[float, float], ...], seconds: float) -> float:
    """Return what had been sent at some moment, between two readings."""
    before = readings[0]
    for after in readings:
        if after[0] >= seconds:
            if after[0] <= before[0]:
                return after[1]
            share = max(0.0, seconds - before[0]) / (after[0] - before[0])
            return before[1] + share * (after[1] - before[1])
        before = after
    return before[1]

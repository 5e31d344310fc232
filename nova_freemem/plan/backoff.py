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

"""Which guests are not released for a while, because they needed memory."""

from __future__ import annotations

import dataclasses

FIRST_SECONDS = 600.0
LONGEST_SECONDS = 24 * 3600.0

# A guest that came under pressure once, and not again for so many times as
# long as it was skipped for, starts anew.
DECAY = 4

# Many more than a host has.
MOST_GUESTS = 1000


@dataclasses.dataclass(frozen=True)
class _Skipped:
    """How long releases of a guest are skipped.

    :ivar seconds: for how long
    :ivar until_seconds: until when, monotonic
    """

    seconds: float
    until_seconds: float

    @property
    def forgotten_at_seconds(self) -> float:
        return self.until_seconds + DECAY * self.seconds


class Backoff:
    """Remembers, on this host, which guests came under pressure.

    Each time doubles how long their releases are skipped, until a guest has
    been without pressure for long enough.
    """

    def __init__(self) -> None:
        """Initialize it with no guest."""
        self._guests: dict[str, _Skipped] = {}

    def add(self, uuid: str, now_seconds: float) -> None:
        """Back off from a guest.

        :param uuid: the instance
        :param now_seconds: monotonic
        """
        self._forget(now_seconds)
        before = self._guests.pop(uuid, None)
        seconds = (
            FIRST_SECONDS
            if before is None
            else min(LONGEST_SECONDS, 2 * before.seconds)
        )
        self._guests[uuid] = _Skipped(seconds, now_seconds + seconds)

    def remaining_seconds(self, uuid: str, now_seconds: float) -> float:
        """Return for how much longer releases of a guest are skipped.

        :param uuid: the instance
        :param now_seconds: monotonic
        :returns: seconds, 0.0 where they are not
        """
        guest = self._guests.get(uuid)
        if guest is None:
            return 0.0
        return max(0.0, guest.until_seconds - now_seconds)

    def guests(self, now_seconds: float) -> dict[str, float]:
        """Return the guests whose releases are skipped.

        :param now_seconds: monotonic
        :returns: for how many seconds more, by the UUID of the guest
        """
        return {
            uuid: guest.until_seconds - now_seconds
            for uuid, guest in dict(self._guests).items()
            if guest.until_seconds > now_seconds
        }

    def _forget(self, now_seconds: float) -> None:
        """Forget who starts anew, and who was longest ago to make room."""
        for uuid, guest in list(self._guests.items()):
            if (
                guest.forgotten_at_seconds <= now_seconds
                or len(self._guests) >= MOST_GUESTS
            ):
                self._guests.pop(uuid, None)

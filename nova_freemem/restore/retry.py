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

"""When outstanding memory of a guest is restored, and tried again: pure."""

from __future__ import annotations

import dataclasses
import math

from nova_freemem.virt import guest as guests

# A guest that has just landed has a job for an instant; a guest that takes
# its memory needs seconds; one that cannot is worth one attempt an hour.
FIRST_SECONDS = 0.1
LONGEST_SECONDS = 3600.0

# Pauses above the interval double with every so many attempts.
SLOWER = 2


@dataclasses.dataclass(frozen=True)
class Attempts:
    """The attempts at one guest that have not succeeded.

    :ivar times: how many
    :ivar next_at_seconds: when the next one is due, monotonic
    """

    times: int = 0
    next_at_seconds: float = 0.0

    def pause_seconds(self, interval_seconds: float) -> float:
        """Return the pause after the last attempt.

        :param interval_seconds: how often all guests are checked
        :returns: twice as long each time up to the interval, then growing
                  more slowly: a guest that could not take its memory for
                  some time gets it at most half as long again after it can
        """
        pause_seconds = FIRST_SECONDS * 2.0 ** (self.times - 1)
        if pause_seconds <= interval_seconds:
            return pause_seconds
        doublings = math.log2(pause_seconds / interval_seconds)
        return min(
            LONGEST_SECONDS,
            interval_seconds * math.exp2(int(doublings) / SLOWER),
        )

    def may_go_on(self, now_seconds: float) -> bool:
        """Return whether the next attempt is due.

        :param now_seconds: monotonic
        """
        return now_seconds >= self.next_at_seconds

    def once_more(
        self, now_seconds: float, interval_seconds: float
    ) -> Attempts:
        """Return the attempts with one more.

        :param now_seconds: when it was made, monotonic
        :param interval_seconds: how often all guests are checked
        """
        attempts = Attempts(min(self.times + 1, 64))
        return dataclasses.replace(
            attempts,
            next_at_seconds=now_seconds
            + attempts.pause_seconds(interval_seconds),
        )


def is_due(
    situation: guests.Situation, attempts: Attempts, now_seconds: float
) -> bool:
    """Return whether memory of a guest with a journal entry is restored now.

    :param situation: what the guest is doing
    :param attempts: those made so far
    :param now_seconds: monotonic
    """
    return situation is guests.Situation.RUNNING and attempts.may_go_on(
        now_seconds
    )


def attempts_after(
    situation: guests.Situation,
    attempts: Attempts,
    now_seconds: float,
    interval_seconds: float,
) -> Attempts:
    """Return when a guest that is not due is checked again.

    :param situation: what the guest is doing
    :param attempts: those made so far
    :param now_seconds: monotonic
    :param interval_seconds: how often all guests are checked
    :returns: the attempts to remember
    """
    if situation is guests.Situation.RUNNING:
        return attempts
    if situation is guests.Situation.HAS_JOB:
        attempts = attempts.once_more(now_seconds, interval_seconds)
        return dataclasses.replace(
            attempts,
            next_at_seconds=min(
                attempts.next_at_seconds, now_seconds + interval_seconds
            ),
        )
    return Attempts()  # An event is sent when it runs.

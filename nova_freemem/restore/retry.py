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

"""Which of the guests that are owed memory is due, and when: pure."""

from __future__ import annotations

import dataclasses
import enum
import math

from nova_freemem.restore import journal
from nova_freemem.virt import guest as guests

# A guest that landed is still in flight for an instant; one that takes its
# memory back needs seconds; one that cannot is not worth more than a look
# each hour.
FIRST_SECONDS = 0.1
LONGEST_SECONDS = 3600.0

# Longer pauses than the interval double with every so many tries.
SLOWER = 2


class Verdict(enum.Enum):
    """What is due to a guest that has a journal entry."""

    NOW = 'is given what it is owed'
    LATER = 'has to wait'
    NEVER = "is the operator's to decide"


@dataclasses.dataclass(frozen=True)
class Attempts:
    """How often a guest was tried in vain.

    :ivar times: how often
    :ivar next_at_seconds: when it is its turn again, monotonic
    """

    times: int = 0
    next_at_seconds: float = 0.0

    def pause_seconds(self, interval_seconds: float) -> float:
        """Tell how long it is let be after the last try.

        :param interval_seconds: when all guests are looked at
        :returns: twice as long each time up to the interval, then more
                  slowly: who could not take its memory for long is given it
                  no more than half as long again after it can
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
        """Tell whether it is the guest's turn again.

        :param now_seconds: monotonic
        :returns: so it is
        """
        return now_seconds >= self.next_at_seconds

    def once_more(
        self, now_seconds: float, interval_seconds: float
    ) -> Attempts:
        """Count one more.

        :param now_seconds: when it was made, monotonic
        :param interval_seconds: when all guests are looked at
        :returns: the tries so far
        """
        tries = Attempts(min(self.times + 1, 64))
        return dataclasses.replace(
            tries,
            next_at_seconds=now_seconds
            + tries.pause_seconds(interval_seconds),
        )


def judge(
    owed: journal.JournalEntry | None,
    situation: guests.Situation,
    tries: Attempts,
    now_seconds: float,
) -> Verdict:
    """Decide whom to pay now, whom later, and whom never.

    :param owed: what the guest's entry says, None where it cannot be read
    :param situation: what the guest is doing
    :param tries: how it went so far
    :param now_seconds: monotonic
    :returns: the verdict
    """
    if owed is None:
        return Verdict.NEVER
    if situation is not guests.Situation.RUNNING:
        return Verdict.LATER
    if not tries.may_go_on(now_seconds):
        return Verdict.LATER
    return Verdict.NOW


def attempts_after(
    situation: guests.Situation,
    tries: Attempts,
    now_seconds: float,
    interval_seconds: float,
) -> Attempts:
    """Decide when a guest that has to wait is looked at again.

    :param situation: what it is doing
    :param tries: how it went so far
    :param now_seconds: monotonic
    :param interval_seconds: when all guests are looked at
    :returns: the tries to remember
    """
    if situation is guests.Situation.RUNNING:
        return tries
    if situation is guests.Situation.HAS_JOB:
        tries = tries.once_more(now_seconds, interval_seconds)
        return dataclasses.replace(
            tries,
            next_at_seconds=min(
                tries.next_at_seconds, now_seconds + interval_seconds
            ),
        )
    return Attempts()  # An event tells when it runs.

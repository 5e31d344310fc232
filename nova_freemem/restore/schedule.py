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

"""What is done for a guest with outstanding memory, and when: pure.

A check looks at the guest, :func:`decide` says what is done and what is
remembered, and :func:`failed` and :func:`notified` what is remembered after
an error and an event. Whatever happens, the next check is in the future.
"""

from __future__ import annotations

import dataclasses
import enum
import math

from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests

# A guest is checked this often at most, whatever it does and whoever asks.
SHORTEST_SECONDS = 0.1

# A guest that has just landed has a job for an instant; a guest that takes
# its memory needs seconds; one that cannot is worth one attempt an hour.
LONGEST_SECONDS = 3600.0

# Pauses above the interval double with every so many attempts.
SLOWER = 2
MOST_ATTEMPTS = 64

# After a landing, Nova's own steps take over a restoration that was begun
# here, and show it in the server's events. They begin a second or two later.
LANDING_SECONDS = 5.0

# The effect of a nudge is seen by then.
NUDGED_SECONDS = 1.0

# With shorter pauses, a guest is only on its way to having its memory.
REPORT_FROM_SECONDS = 10.0


class Action(enum.Enum):
    """What is done for a guest after it was looked at."""

    NOTHING = 'nothing'
    BEGIN = 'begin to restore its memory'
    REQUEST = 'request all memory again'
    NUDGE = 'request a little less'
    FINISH = 'erase the journal entry'
    REPORT = 'report that it is slow, or that its entry cannot be read'
    FORGET = 'forget the guest'


class Nudge(enum.Enum):
    """Whether the guest was nudged since its last attempt."""

    NOT_YET = 'not yet'
    HALF = 'a little less was requested'
    DONE = 'all was requested again'


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a check saw of a guest.

    :ivar entry: its journal entry, None where there is none to restore
    :ivar situation: what the guest is doing, where there is an entry
    :ivar result: what has arrived of the restoration begun for this entry;
                  None where none was begun, or the guest is not running
    :ivar unreadable: what is wrong with the entry, None where nothing is
    """

    entry: journal.JournalEntry | None = None
    situation: guests.Situation = guests.Situation.RUNNING
    result: restorations.RestoreResult | None = None
    unreadable: exceptions.JournalUnreadable | None = None


@dataclasses.dataclass(frozen=True)
class State:
    """What is remembered of a guest between two checks.

    :ivar due_at_seconds: when it is checked next, monotonic
    :ivar attempts: those that have not succeeded
    :ivar begun: the restoration under way
    :ivar nudge: how far the nudge of this attempt is
    :ivar unreadable: what was reported of an entry that cannot be read
    """

    due_at_seconds: float = 0.0
    attempts: int = 0
    begun: restorations.Begun | None = None
    nudge: Nudge = Nudge.NOT_YET
    unreadable: str | None = None


def pause_seconds(attempts: int, interval_seconds: float) -> float:
    """Return the pause after an attempt that did not succeed.

    :param attempts: how many did not, at least 1
    :param interval_seconds: how often all guests are checked
    :returns: twice as long each time up to the interval, then growing
              more slowly: a guest that could not take its memory for
              some time gets it at most half as long again after it can
    """
    pause = SHORTEST_SECONDS * 2.0 ** (attempts - 1)
    if pause <= interval_seconds:
        return pause
    doublings = math.log2(pause / interval_seconds)
    return min(
        LONGEST_SECONDS,
        interval_seconds * math.exp2(int(doublings) / SLOWER),
    )


def decide(
    state: State, seen: Seen, now_seconds: float, interval_seconds: float
) -> tuple[Action, State]:
    """Decide what is done for a guest.

    :param state: what is remembered of it
    :param seen: what it looks like
    :param now_seconds: monotonic
    :param interval_seconds: how often all guests are checked
    :returns: what to do, and what to remember once it is done
    """
    if seen.unreadable is not None:
        problem = str(seen.unreadable)
        is_new = problem != state.unreadable
        return (
            Action.REPORT if is_new else Action.NOTHING,
            State(now_seconds + interval_seconds, unreadable=problem),
        )
    if seen.entry is None:
        return Action.FORGET, State()
    if seen.situation is not guests.Situation.RUNNING:
        return Action.NOTHING, _not_running(
            state, seen.situation, now_seconds, interval_seconds
        )
    if seen.result is None:
        return Action.BEGIN, State(now_seconds + LANDING_SECONDS, 1)
    if seen.result.complete:
        return Action.FINISH, later_than(state, now_seconds)
    if state.nudge is Nudge.NOT_YET:
        return Action.NUDGE, dataclasses.replace(
            state,
            nudge=Nudge.HALF,
            due_at_seconds=now_seconds + restorations.NUDGE_SECONDS,
        )
    if state.nudge is Nudge.HALF:
        return Action.REQUEST, dataclasses.replace(
            state,
            nudge=Nudge.DONE,
            due_at_seconds=now_seconds + NUDGED_SECONDS,
        )
    following = failed(state, now_seconds, interval_seconds)
    is_late = is_reported(following, interval_seconds)
    return Action.REPORT if is_late else Action.NOTHING, following


def failed(state: State, now_seconds: float, interval_seconds: float) -> State:
    """Return what is remembered after an attempt that did not succeed.

    :param state: what was remembered
    :param now_seconds: monotonic
    :param interval_seconds: how often all guests are checked
    """
    attempts = min(state.attempts + 1, MOST_ATTEMPTS)
    return dataclasses.replace(
        state,
        attempts=attempts,
        nudge=Nudge.NOT_YET,
        due_at_seconds=now_seconds + pause_seconds(attempts, interval_seconds),
    )


def is_reported(state: State, interval_seconds: float) -> bool:
    """Return whether operators are told of a failed attempt.

    :param state: what :func:`failed` returned
    :param interval_seconds: how often all guests are checked
    """
    return (
        pause_seconds(state.attempts, interval_seconds) >= REPORT_FROM_SECONDS
    )


def notified(
    state: State, now_seconds: float, checked_at_seconds: float
) -> State:
    """Return what is remembered of a guest that is to be checked now.

    Its attempts start anew.

    :param state: what was remembered
    :param now_seconds: monotonic
    :param checked_at_seconds: when the last check ended, monotonic
    """
    anew = dataclasses.replace(
        state,
        attempts=min(state.attempts, 1),
        nudge=Nudge.NOT_YET,
        due_at_seconds=now_seconds,
    )
    return later_than(anew, checked_at_seconds)


def postponed(
    state: State, now_seconds: float, interval_seconds: float
) -> State:
    """Return what is remembered of a guest that was not checked.

    :param state: what was remembered
    :param now_seconds: monotonic
    :param interval_seconds: how often all guests are checked
    """
    return State(
        now_seconds + interval_seconds,
        begun=state.begun,
        unreadable=state.unreadable,
    )


def later_than(state: State, checked_at_seconds: float) -> State:
    """Return what is remembered, due some time after the last check.

    :param state: what is to be remembered
    :param checked_at_seconds: when the last check ended, monotonic
    """
    return dataclasses.replace(
        state,
        due_at_seconds=max(
            state.due_at_seconds, checked_at_seconds + SHORTEST_SECONDS
        ),
    )


def _not_running(
    state: State,
    situation: guests.Situation,
    now_seconds: float,
    interval_seconds: float,
) -> State:
    """Return what is remembered of a guest that is paused, or has a job."""
    if situation is guests.Situation.PAUSED:  # an event is sent when it runs
        return postponed(state, now_seconds, interval_seconds)
    following = failed(state, now_seconds, interval_seconds)
    return dataclasses.replace(
        following,
        due_at_seconds=min(
            following.due_at_seconds, now_seconds + interval_seconds
        ),
    )

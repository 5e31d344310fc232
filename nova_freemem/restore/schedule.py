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

A step looks at the guest, :func:`decide` says what is done and what is
remembered, and :func:`failed` and :func:`notified` what is remembered after
an error and an event. Whatever happens, the next step is in the future.
"""

from __future__ import annotations

import dataclasses
import enum
import math

from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import TOLERANCE_KIB

# A guest is checked this often at most, whatever it does and whoever asks.
SHORTEST_SECONDS = 0.1

# A guest that has just landed has a job for an instant; a guest that takes
# its memory needs seconds; one that cannot is worth one attempt an hour.
LONGEST_SECONDS = 3600.0

# Pauses above the interval double with every so many attempts.
SLOWER = 2
MOST_ATTEMPTS = 64

# A guest that has all its memory is seen to have it later by this share of
# the time it took, within these bounds, if somebody watches.
WATCHED_SHARE = 0.1
WATCHED_LONGEST_SECONDS = 1.0

# A guest that has not got its memory by then is nudged. Where nobody watches,
# it is not looked at before: after a landing Nova's own steps begin a second
# or two later, and then what was begun is shown in the server's events.
NUDGE_INTERVAL_SECONDS = 5.0

# A nudge: the guest gets a target this much smaller for a moment, so that its
# driver has something to do and to report; it starts within milliseconds. A
# guest that has reached that target is not taken for one that has all its
# memory.
NUDGE_KIB = 2 * TOLERANCE_KIB
NUDGE_SECONDS = 0.5

# The effect of a nudge is seen by then.
NUDGED_SECONDS = 1.0

# A guest that lacks no more than the tolerance may be about to take that too:
# its definition at the next destination is made of what it has by then. One
# that still lacks it after this time is nudged, and one that still lacks it
# after that has all that it will take.
SETTLED_SECONDS = 1.0

# With shorter pauses, a guest is only on its way to having its memory.
REPORT_FROM_SECONDS = 10.0


class Action(enum.Enum):
    """What is done for a guest after it was looked at."""

    NOTHING = 'nothing'
    BEGIN = 'begin to restore its memory'
    WRITE = 'write the journal entry again'
    REQUEST = 'request all memory again'
    NUDGE = 'request a little less'
    FINISH = 'erase the journal entry'
    REPORT = 'report how much it has, or that its entry cannot be read'
    FORGET = 'forget the guest'
    LEAVE = 'request all memory again, and forget the guest'


class Nudge(enum.Enum):
    """Whether the guest was nudged since its last attempt.

    A guest that was rebooted with its balloon inflated has all its memory,
    and nobody notices: its driver sees no difference to act on, and QEMU
    still shows what the driver before it reported. The nudge makes the driver
    report. It also makes up for an event that libvirt missed.
    """

    NOT_YET = 'not yet'
    HALF = 'a little less was requested'
    DONE = 'all was requested again'


@dataclasses.dataclass(frozen=True)
class RestoreResult:
    """How much of the memory of a guest was restored.

    :ivar original_kib: memory the guest is to have
    :ivar before_kib: memory it had when the first request was made
    :ivar after_kib: memory it had, also by libvirt's XML, at the last look
    :ivar seconds: from the first request to the last look
    """

    original_kib: int
    before_kib: int
    after_kib: int
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether the guest has all its memory, up to the tolerance."""
        return is_whole(self.after_kib, self.original_kib)


@dataclasses.dataclass(frozen=True)
class Begun:
    """What is to be known of a restoration in order to continue it.

    :ivar entry: the journal entry
    :ivar before_kib: memory the guest had when the first request was made
    :ivar at_seconds: when that was, monotonic
    """

    entry: journal.JournalEntry
    before_kib: int
    at_seconds: float


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a step saw of a guest.

    :ivar entry: its journal entry, or the one that is known to be lost; None
                 where there is none to restore
    :ivar is_lost: whether the entry is to be written again
    :ivar situation: what the guest is doing, where there is an entry
    :ivar is_persistent: whether its domain has a persistent definition, to be
                         set as well
    :ivar result: what has arrived of the restoration begun for this entry;
                  None where none was begun, or the guest is not running
    :ivar unreadable: what is wrong with the entry, None where nothing is
    """

    entry: journal.JournalEntry | None = None
    is_lost: bool = False
    situation: guests.Situation = guests.Situation.RUNNING
    is_persistent: bool = True
    result: RestoreResult | None = None
    unreadable: exceptions.JournalUnreadable | None = None


@dataclasses.dataclass(frozen=True)
class State:
    """What is remembered of a guest between two steps.

    :ivar due_at_seconds: when the next one is due, monotonic
    :ivar attempts: those that have not succeeded
    :ivar begun: the restoration under way
    :ivar nudge: how far the nudge of this attempt is
    :ivar nudge_at_seconds: it is not nudged before, monotonic
    :ivar nearly_at_seconds: since when it has lacked no more than the
                             tolerance, monotonic; None where it lacks more
    :ivar awaits_definition: whether the guest has all its memory, which was
                             reported, and its domain has no persistent
                             definition in which to set that
    :ivar unreadable: what was reported of an entry that cannot be read
    :ivar known: an entry that a migration knows to be true, whether it is in
                 the journal or not, until the guest is restored
    """

    due_at_seconds: float = 0.0
    attempts: int = 0
    begun: Begun | None = None
    nudge: Nudge = Nudge.NOT_YET
    nudge_at_seconds: float = 0.0
    nearly_at_seconds: float | None = None
    awaits_definition: bool = False
    unreadable: str | None = None
    known: journal.JournalEntry | None = None


def is_whole(actual_kib: int, original_kib: int) -> bool:
    """Return whether a guest has all its memory, up to the tolerance.

    :param actual_kib: what it has; nothing is never all
    :param original_kib: what it is to have
    """
    return actual_kib >= max(1, original_kib - TOLERANCE_KIB)


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
    state: State,
    seen: Seen,
    now_seconds: float,
    interval_seconds: float,
    watched: bool = False,
) -> tuple[Action, State]:
    """Decide what is done for a guest.

    :param state: what is remembered of it
    :param seen: what it looks like
    :param now_seconds: monotonic
    :param interval_seconds: how often all guests are checked
    :param watched: whether somebody wants to know soon what comes of it
    :returns: what to do, and what to remember once it is done
    """
    if seen.unreadable is not None:
        problem = str(seen.unreadable)
        is_new = problem != state.unreadable
        return (
            Action.REPORT if is_new else Action.NOTHING,
            State(
                now_seconds + interval_seconds,
                unreadable=problem,
                known=state.known,
            ),
        )
    if seen.entry is None:
        # Whoever erased the entry saw all memory arrive, and may have done so
        # before the guest followed the nudge.
        is_left_with_less = state.nudge is Nudge.HALF
        return Action.LEAVE if is_left_with_less else Action.FORGET, State()
    if seen.situation is not guests.Situation.RUNNING:
        # A guest that is paused can leave, and its entry has to go with it.
        is_missed = seen.is_lost and seen.situation is guests.Situation.PAUSED
        return Action.WRITE if is_missed else Action.NOTHING, _not_running(
            state, seen.situation, now_seconds, interval_seconds
        )
    if seen.result is None:
        begun = State(
            attempts=1,
            nudge_at_seconds=now_seconds + NUDGE_INTERVAL_SECONDS,
            known=state.known,
        )
        return Action.BEGIN, _look_again(begun, 0.0, now_seconds, watched)
    if not seen.result.complete:
        state = dataclasses.replace(
            state, nearly_at_seconds=None, awaits_definition=False
        )
    elif state.nudge is not Nudge.HALF:
        action, following = _complete(state, seen.result, now_seconds)
        if action is Action.FINISH and not seen.is_persistent:
            return _without_definition(state, now_seconds, interval_seconds)
        return action, following
    return _go_on(state, seen.result, now_seconds, interval_seconds, watched)


def _complete(
    state: State, result: RestoreResult, now_seconds: float
) -> tuple[Action, State]:
    """Decide what is done for a guest that has all its memory, or nearly."""
    nearly_at_seconds = state.nearly_at_seconds
    if nearly_at_seconds is None:
        nearly_at_seconds = now_seconds
    if result.after_kib >= result.original_kib:
        return Action.FINISH, later_than(state, now_seconds)
    if now_seconds < nearly_at_seconds + SETTLED_SECONDS:
        return Action.NOTHING, later_than(
            dataclasses.replace(
                state,
                nearly_at_seconds=nearly_at_seconds,
                due_at_seconds=now_seconds,
            ),
            now_seconds,
        )
    if state.nudge is Nudge.NOT_YET:
        return _nudge(state, now_seconds)
    return Action.FINISH, later_than(state, now_seconds)


def _nudge(state: State, now_seconds: float) -> tuple[Action, State]:
    """Return the first half of a nudge; :func:`_go_on` does the second."""
    return Action.NUDGE, dataclasses.replace(
        state, nudge=Nudge.HALF, due_at_seconds=now_seconds + NUDGE_SECONDS
    )


def _without_definition(
    state: State, now_seconds: float, interval_seconds: float
) -> tuple[Action, State]:
    """Decide what is done where a guest has all its memory, and is transient.

    Nova will define its domain by what the definition said before, which can
    be a journal entry and less than all memory: until that is set right, the
    entry is true.
    """
    return (
        Action.NOTHING if state.awaits_definition else Action.REPORT,
        dataclasses.replace(
            state,
            awaits_definition=True,
            due_at_seconds=now_seconds + interval_seconds,
        ),
    )


def _go_on(
    state: State,
    result: RestoreResult,
    now_seconds: float,
    interval_seconds: float,
    watched: bool,
) -> tuple[Action, State]:
    """Decide what is done for a guest that lacks some of its memory."""
    if state.nudge is Nudge.HALF:
        return Action.REQUEST, dataclasses.replace(
            state,
            nudge=Nudge.DONE,
            due_at_seconds=now_seconds + NUDGED_SECONDS,
        )
    if state.nudge is Nudge.NOT_YET and now_seconds >= state.nudge_at_seconds:
        return _nudge(state, now_seconds)
    if state.nudge is Nudge.DONE:
        if not watched:
            following = failed(state, now_seconds, interval_seconds)
            is_late = is_reported(following, interval_seconds)
            return Action.REPORT if is_late else Action.NOTHING, following
        state = dataclasses.replace(
            state,
            nudge=Nudge.NOT_YET,
            nudge_at_seconds=now_seconds + NUDGE_INTERVAL_SECONDS,
        )
    return Action.NOTHING, _look_again(
        state, result.seconds, now_seconds, watched
    )


def _look_again(
    state: State, seconds: float, now_seconds: float, watched: bool
) -> State:
    """Return what is remembered of a guest that takes its memory.

    :param seconds: for how long it has
    """
    due_at_seconds = state.nudge_at_seconds
    if watched:
        pause_seconds = min(
            WATCHED_LONGEST_SECONDS,
            max(SHORTEST_SECONDS, WATCHED_SHARE * seconds),
        )
        due_at_seconds = min(due_at_seconds, now_seconds + pause_seconds)
    return later_than(
        dataclasses.replace(state, due_at_seconds=due_at_seconds), now_seconds
    )


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
        nudge=_nudge_of_next(state),
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
        nudge=_nudge_of_next(state),
        due_at_seconds=now_seconds,
    )
    return later_than(anew, checked_at_seconds)


def postponed(
    state: State, now_seconds: float, interval_seconds: float
) -> State:
    """Return what is remembered of a guest that was not looked at.

    :param state: what was remembered
    :param now_seconds: monotonic
    :param interval_seconds: how often all guests are checked
    """
    return State(
        now_seconds + interval_seconds,
        begun=state.begun,
        nudge=_nudge_of_next(state),
        awaits_definition=state.awaits_definition,
        unreadable=state.unreadable,
        known=state.known,
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


def _nudge_of_next(state: State) -> Nudge:
    """Return how far the nudge of the next attempt is.

    What was not requested again has to be, whatever comes in between.
    """
    return Nudge.HALF if state.nudge is Nudge.HALF else Nudge.NOT_YET


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

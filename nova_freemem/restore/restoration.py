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

"""Restore the memory of one guest, step by step.

What a step does is decided by :mod:`nova_freemem.restore.schedule`. None of
them waits, but for libvirt.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import dataclasses

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.restore import schedule
from nova_freemem.restore.schedule import Action
from nova_freemem.restore.schedule import Begun
from nova_freemem.restore.schedule import RestoreResult
from nova_freemem.restore.schedule import Seen
from nova_freemem.restore.schedule import State
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests

# For who restores a guest without a reconciler: no pause is longer.
INTERVAL_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Step:
    """One look at a guest, and what was done for it.

    :ivar seen: what it looked like
    :ivar action: what was done
    :ivar following: what to remember; None where there is nothing left to do
    """

    seen: Seen
    action: Action
    following: State | None

    @property
    def is_restored(self) -> bool:
        """Whether the guest was seen to have all its memory, or needs none."""
        return self.following is None or (
            self.following.awaits_definition and self.seen.result is not None
        )


def take_step(
    guest: guests.Guest,
    state: State,
    clock: clocks.Clock,
    interval_seconds: float,
    watched: bool,
    is_anothers: Callable[[journal.JournalEntry], bool] | None = None,
) -> Step:
    """Look at a guest, and do what is due.

    :param guest: the guest
    :param state: what is remembered of it
    :param clock: tells the time
    :param interval_seconds: how often all guests are checked
    :param watched: whether somebody wants to know soon what comes of it
    :param is_anothers: tells of an entry whether it is left to whoever wrote
                        it; None where the lock of the guest is held, so that
                        nobody is at work on one
    :returns: what was seen and done
    :raises LibvirtError: libvirt failed; remember what
                          :func:`schedule.failed` returns
    """
    seen = _look(guest, state, clock, is_anothers)
    action, following = schedule.decide(
        state, seen, clock.now(), interval_seconds, watched
    )
    if action is Action.LEAVE and state.begun is not None:
        _leave(guest, state.begun.entry)
    if action in (Action.FORGET, Action.LEAVE):
        return Step(seen, action, None)
    if seen.entry is None:
        return Step(seen, action, following)
    if action in (Action.NUDGE, Action.FINISH) and (
        journal.read(guest) != seen.entry
    ):  # somebody else has erased or written it since
        return Step(seen, Action.NOTHING, state)
    if action is Action.BEGIN:
        begun = _begin(guest, seen, seen.entry, clock)
        following = dataclasses.replace(following, begun=begun)
    elif action is Action.WRITE:
        journal.write(guest, seen.entry)
    elif action is Action.NUDGE:
        guest.set_balloon_kib(seen.entry.original_kib - schedule.NUDGE_KIB)
    elif action is Action.REQUEST:
        _request(guest, seen.entry, seen.is_persistent)
    elif action is Action.FINISH:
        _finish(guest, seen.entry)
        return Step(seen, action, None)
    return Step(seen, action, following)


class Restoration:
    """The restore of one guest where there is no reconciler to do it.

    :ivar seen: the guest, at the last look
    """

    seen: Seen

    def __init__(
        self,
        guest: guests.Guest,
        clock: clocks.Clock,
        is_anothers: Callable[[journal.JournalEntry], bool] | None = None,
    ) -> None:
        """Initialize the restoration, and begin with it.

        The balloon starts to deflate.

        :param guest: the guest
        :param clock: for waits
        :param is_anothers: see :func:`take_step`; such an entry ends it
        :raises LibvirtError: it could not begin
        """
        self._guest = guest
        self._clock = clock
        self._is_anothers = is_anothers
        self._state: State | None = State()
        self._step(self._state)

    @property
    def is_done(self) -> bool:
        """Whether nothing is outstanding any more, at the last look."""
        return self._state is None

    @property
    def awaits_definition(self) -> bool:
        """Whether only the persistent definition is to be set, and is not."""
        return self._state is not None and self._state.awaits_definition

    def watch(self, wait_seconds: float) -> Seen:
        """Take the steps that are due, until all memory has arrived.

        A persistent definition that is not there is not waited for.

        :param wait_seconds: how long at most, 0 for one step
        :returns: the guest at the last of them; may be called again
        :raises LibvirtError: a step failed
        """
        deadline = clocks.Deadline(self._clock, wait_seconds)
        while self._state is not None:
            self._clock.wait(
                max(
                    0.0,
                    min(
                        self._state.due_at_seconds - self._clock.now(),
                        deadline.left_seconds(),
                    ),
                )
            )
            self._step(self._state)
            if deadline.passed() or self.awaits_definition:
                break
        return self.seen

    def _step(self, state: State) -> None:
        step = take_step(
            self._guest,
            state,
            self._clock,
            INTERVAL_SECONDS,
            watched=True,
            is_anothers=self._is_anothers,
        )
        self.seen, self._state = step.seen, step.following


def _look(
    guest: guests.Guest,
    state: State,
    clock: clocks.Clock,
    is_anothers: Callable[[journal.JournalEntry], bool] | None,
) -> Seen:
    """Look at a guest, and at the restoration that was begun."""
    try:
        entry = journal.read(guest)
    except exceptions.OperationInvalid:
        return Seen()  # It is off; Nova starts guests with all their memory.
    except exceptions.JournalUnreadable as error:
        if state.known is None:
            return Seen(unreadable=error)
        entry = None  # A migration knows what it said.
    is_lost = entry is None
    entry = entry or state.known
    if entry is None or (is_anothers is not None and is_anothers(entry)):
        return Seen()
    situation = guest.situation()
    is_running = situation is guests.Situation.RUNNING
    has_job = situation is guests.Situation.HAS_JOB
    if is_lost and not has_job and _actual_kib(guest) > entry.original_kib:
        return Seen()  # It has been resized since, and lacks nothing.
    is_persistent = is_running and guest.is_persistent()
    begun = state.begun
    result = None
    if (
        is_running
        and begun is not None
        and begun.entry == entry
        and not is_lost
    ):
        result = RestoreResult(
            entry.original_kib,
            begun.before_kib,
            _arrived_kib(guest, entry),
            clock.now() - begun.at_seconds,
        )
    return Seen(entry, is_lost, situation, is_persistent, result)


def _begin(
    guest: guests.Guest,
    seen: Seen,
    entry: journal.JournalEntry,
    clock: clocks.Clock,
) -> Begun:
    if seen.is_lost:
        journal.write(guest, entry)
    begun = Begun(entry, _actual_kib(guest), clock.now())
    _request(guest, entry, seen.is_persistent)
    return begun


def _leave(guest: guests.Guest, entry: journal.JournalEntry) -> None:
    """Request all memory of a guest that may have been left with less.

    Not of one that somebody else has taken over since, that has been resized,
    or that is off. One that is being migrated gets it during the transfer.
    """
    with contextlib.suppress(exceptions.OperationInvalid):
        if (
            guest.read_metadata() is not None
            or _actual_kib(guest) > entry.original_kib
        ):
            return
        if guest.situation() is guests.Situation.HAS_JOB:
            guest.steer_balloon_kib(entry.original_kib)
        else:
            _request(guest, entry, guest.is_persistent())


def _request(
    guest: guests.Guest, entry: journal.JournalEntry, is_persistent: bool
) -> None:
    """Request all memory, now and in the persistent definition, if any."""
    guest.set_balloon_kib(entry.original_kib, definition=is_persistent)


def _finish(guest: guests.Guest, entry: journal.JournalEntry) -> None:
    """Set the statistics period back, and erase the entry.

    The definition may be another one than that in which memory was requested:
    Nova may have made it since, of what the one before said.
    """
    definition = guest.xml(definition=True)
    if domain_xml.current_memory_kib(definition) != entry.original_kib:
        _request(guest, entry, is_persistent=True)
    guest.set_stats_period_seconds(entry.stats_period_seconds, definition=True)
    journal.erase(guest)


def _arrived_kib(guest: guests.Guest, entry: journal.JournalEntry) -> int:
    """Return the memory of a guest, by libvirt's XML as well.

    The definition at its next destination is made from that XML.
    """
    actual_kib = _actual_kib(guest)
    if not schedule.is_whole(actual_kib, entry.original_kib):
        return actual_kib
    return min(actual_kib, domain_xml.current_memory_kib(guest.xml()))


def _actual_kib(guest: guests.Guest) -> int:
    balloon = guest.memory_stats()
    return 0 if balloon is None else balloon.actual_kib

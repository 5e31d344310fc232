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

"""Restores outstanding memory of guests on one host, after failures.

One thread serves all guests. It ends with nova-compute, and does not touch a
guest whose lock is held elsewhere.
"""

from __future__ import annotations

import dataclasses
import threading

from oslo_log import log as logging

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import restoration as restorations
from nova_freemem.restore.retry import Attempts
from nova_freemem.restore.retry import attempts_after
from nova_freemem.restore.retry import is_due
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts

LOG = logging.getLogger(__name__)

# After a landing, Nova's own steps take over a restoration that was begun
# here, and show it in the server's events. They begin a second or two later.
LANDING_SECONDS = 5.0

# The effect of a nudge is seen by then.
NUDGED_SECONDS = 1.0

# With shorter pauses, a guest is only on its way to having its memory.
REPORT_FROM_SECONDS = 10.0


@dataclasses.dataclass
class _GuestState:
    """What is remembered of one guest until its memory is restored.

    :ivar attempts: those that have not succeeded
    :ivar restoration: the one begun, used by whoever holds the guest's lock
    :ivar nudged: whether it was, and the effect is yet to be seen
    :ivar unreadable: the error reported for an entry that cannot be read
    """

    attempts: Attempts = dataclasses.field(default_factory=Attempts)
    restoration: restorations.Restoration | None = None
    nudged: bool = False
    unreadable: str | None = None


class Reconciler:
    """Checks the guests of one host, and those it is notified of."""

    def __init__(
        self,
        host: hosts.Host,
        locks: locks.Locks,
        clock: clocks.Clock,
        interval_seconds: float,
    ) -> None:
        """Initialize the reconciler.

        :param host: this host
        :param locks: of its guests
        :param clock: for all waits
        :param interval_seconds: how often all guests are checked
        """
        self._host = host
        self._locks = locks
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._states: dict[str, _GuestState] = {}
        self._notified: set[str] = set()
        self._wake = threading.Event()
        self._stopped = False
        self._failing = False
        self._check_all_at_seconds = 0.0

    def start(self) -> None:
        """Start in a thread, which checks all guests at once."""
        thread = threading.Thread(
            target=self._run, daemon=True, name='freemem-reconcile'
        )
        try:
            thread.start()
        except RuntimeError as error:
            LOG.error(
                'The reconciler could not start: %s. Outstanding memory of '
                'guests on this host is not restored automatically; run '
                '"nova-freemem restore --all".',
                error,
            )

    def stop(self) -> None:
        """Stop, after the guest that is being checked."""
        self._stopped = True
        self._wake.set()

    def notify(self, uuid: str) -> None:
        """Have a guest checked soon; returns at once.

        :param uuid: the instance: it started to run here, or its lock was
                     released
        """
        self._notified.add(uuid)
        self._wake.set()

    def hand_over(self, uuid: str) -> restorations.Restoration | None:
        """Hand a guest over to the caller, who holds its lock.

        :param uuid: the instance
        :returns: the restoration that was begun, if any
        """
        state = self._states.get(uuid)
        if state is None:
            return None
        begun, state.restoration = state.restoration, None
        return begun

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopped:  # set before the event was cleared
                return
            try:
                self._check_guests()
                self._failing = False
            except Exception as error:
                self._report_failure(error)
            self._clock.wait(self._pause_seconds(), until=self._wake)

    def _report_failure(self, error: Exception) -> None:
        if not self._failing:
            LOG.warning(
                'Could not check the guests of this host for outstanding '
                'memory: %s. The next attempt is in %d s.',
                error,
                self._interval_seconds,
            )
        self._failing = True

    def _pause_seconds(self) -> float:
        times = [
            state.attempts.next_at_seconds
            for state in list(self._states.values())
            if state.attempts.times
        ]
        return max(
            0.0, min([self._check_all_at_seconds, *times]) - self._clock.now()
        )

    def _check_guests(self) -> None:
        self._check_notified()
        for uuid in self._due():
            self._check(uuid)
            self._check_notified()

    def _check_notified(self) -> None:
        while self._notified:
            uuid = self._notified.pop()
            if uuid in self._states:
                self._states[uuid].attempts = Attempts()
            self._check(uuid)

    def _due(self) -> list[str]:
        now = self._clock.now()
        if now < self._check_all_at_seconds:
            return [
                uuid
                for uuid, state in list(self._states.items())
                if state.attempts.times and state.attempts.may_go_on(now)
            ]
        self._check_all_at_seconds = now + self._interval_seconds
        entries = self._host.journal_entries()
        for restored in set(self._states) - set(entries):
            self._states.pop(restored, None)
        return [
            uuid
            for uuid in entries
            if uuid not in self._states
            or self._states[uuid].attempts.may_go_on(now)
        ]

    def _check(self, uuid: str) -> None:
        """Check one guest, unless its lock is held or this has stopped."""
        if self._stopped:
            return
        state = self._states.setdefault(uuid, _GuestState())
        with self._locks.hold(uuid) as held:
            if not held:
                state.attempts = Attempts()  # Its holder notifies us.
            elif self._reconcile(uuid, state):
                self._states.pop(uuid, None)

    def _reconcile(self, uuid: str, state: _GuestState) -> bool:
        """Do what is due for a guest; return whether nothing remains."""
        reporter = reporters.GuestReporter(uuid)
        try:
            guest = self._host.guest(uuid)
            entry = _read(guest, state, reporter)
            if entry is None:
                return state.unreadable is None
            situation, now = guest.situation(), self._clock.now()
            if is_due(situation, state.attempts, now):
                return self._restore(guest, entry, state, reporter)
            state.attempts = attempts_after(
                situation, state.attempts, now, self._interval_seconds
            )
        except exceptions.DomainGone:
            return True
        except Exception as error:
            if self._attempt_failed(state):
                reporter.restore_failed(error)
        return False

    def _restore(
        self,
        guest: guests.Guest,
        entry: journal.JournalEntry,
        state: _GuestState,
        reporter: reporters.GuestReporter,
    ) -> bool:
        restoration = state.restoration
        if restoration is None or restoration.entry != entry:
            state.restoration = restorations.Restoration(
                guest, entry, self._clock
            )
            state.attempts = Attempts(1, self._clock.now() + LANDING_SECONDS)
            return False
        result = restoration.check()
        if result is None:
            return True
        if result.complete:
            reporter.restored(result)
            return True
        if not state.nudged:
            restoration.nudge()
            state.nudged = True
            state.attempts = dataclasses.replace(
                state.attempts,
                next_at_seconds=(self._clock.now() + NUDGED_SECONDS),
            )
        elif self._attempt_failed(state):
            reporter.restored(result)
        return False

    def _attempt_failed(self, state: _GuestState) -> bool:
        """Count a failed attempt; return whether to report it."""
        state.nudged = False
        state.attempts = state.attempts.once_more(
            self._clock.now(), self._interval_seconds
        )
        pause_seconds = state.attempts.pause_seconds(self._interval_seconds)
        return pause_seconds >= REPORT_FROM_SECONDS


def _read(
    guest: guests.Guest,
    state: _GuestState,
    reporter: reporters.GuestReporter,
) -> journal.JournalEntry | None:
    """Read the journal entry; report once one that cannot be read."""
    unreadable = None
    try:
        return journal.read(guest)
    except exceptions.OperationInvalid:
        return None  # It is off.
    except exceptions.JournalUnreadable as error:
        unreadable = str(error)
        if unreadable != state.unreadable:
            reporter.journal_unreadable(error)
        return None
    finally:
        state.unreadable = unreadable

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

One thread says which guest is checked when, and each check is done by one of
a few workers. A check looks the domain up anew, takes moments, and waits for
nothing but libvirt: one that does not return keeps its worker, and hinders no
other guest. A guest whose lock is held elsewhere is not touched.
"""

from __future__ import annotations

import dataclasses
import math
import threading

from oslo_log import log as logging

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import restoration as restorations
from nova_freemem.restore import schedule
from nova_freemem.restore.schedule import Action
from nova_freemem.restore.schedule import Seen
from nova_freemem.restore.schedule import State
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts

LOG = logging.getLogger(__name__)

# A check takes milliseconds. The worker of one that takes longer than this
# is taken for stuck, and another one may be started in its place.
STUCK_SECONDS = 10.0

# So many are replaced at once. libvirtd has twenty workers for all clients.
MOST_STUCK = 16

# The key of the check that lists the guests with journal entries.
LIST = ''


@dataclasses.dataclass
class _Check:
    """What is checked again and again: one guest, or the list of all.

    :ivar state: what is remembered from one time to the next
    :ivar began_at_seconds: when the one under way began, None where none is
    :ivar ended_at_seconds: when the last one ended, monotonic
    :ivar notified: whether another one was asked for meanwhile
    :ivar reported: whether it was reported to be stuck
    """

    state: State = dataclasses.field(default_factory=State)
    began_at_seconds: float | None = None
    ended_at_seconds: float = -math.inf
    notified: bool = False
    reported: bool = False

    @property
    def stuck_at_seconds(self) -> float:
        """When the one under way is taken for stuck; never where none is."""
        if self.began_at_seconds is None:
            return math.inf
        return self.began_at_seconds + STUCK_SECONDS


class Reconciler:
    """Checks the guests of one host, and those it is notified of."""

    def __init__(
        self,
        host: hosts.Host,
        locks: locks.Locks,
        clock: clocks.Clock,
        interval_seconds: float,
        workers: int,
    ) -> None:
        """Initialize the reconciler.

        :param host: this host
        :param locks: of its guests
        :param clock: for all waits
        :param interval_seconds: how often all guests are checked
        :param workers: how many guests are checked at the same time, besides
                        those whose check is stuck
        """
        self._host = host
        self._locks = locks
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._workers = workers
        # Guards the checks and who was notified; nobody waits while it is
        # held.
        self._lock = threading.Lock()
        self._checks = {LIST: _Check()}
        self._notified: set[str] = set()
        self._wake = threading.Event()
        self._stopped = False
        self._failing = False

    def start(self) -> None:
        """Start in a thread, which has all guests checked at once."""
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
        """Stop, after the guests that are being checked."""
        self._stopped = True
        self._wake.set()

    def notify(self, uuid: str) -> None:
        """Have a guest checked soon; returns at once.

        :param uuid: the instance: it started to run here, or its lock was
                     released
        """
        with self._lock:
            self._notified.add(uuid)
        self._wake.set()

    def hand_over(self, uuid: str) -> restorations.Begun | None:
        """Hand a guest over to the caller, who holds its lock.

        :param uuid: the instance
        :returns: the restoration that was begun, if any
        """
        with self._lock:
            check = self._checks.get(uuid)
            if check is None:
                return None
            begun = check.state.begun
            check.state = dataclasses.replace(check.state, begun=None)
            return begun

    def remembered(self) -> dict[str, State]:
        """Return what is remembered of guests, by the UUID of the guest."""
        with self._lock:
            return {
                uuid: check.state
                for uuid, check in self._checks.items()
                if uuid != LIST
            }

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopped:  # set before the event was cleared
                return
            try:
                self._take_notified()
                self._report_stuck()
                self._start_due()
                pause_seconds = self._pause_seconds()
            except Exception as error:  # it must not end with its first one
                self._report_failure(error)
                pause_seconds = self._interval_seconds
            self._clock.wait(pause_seconds, until=self._wake)

    def _take_notified(self) -> None:
        now = self._clock.now()
        with self._lock:
            while self._notified:
                check = self._checks.setdefault(self._notified.pop(), _Check())
                check.notified = check.began_at_seconds is not None
                if not check.notified:
                    check.state = schedule.notified(
                        check.state, now, check.ended_at_seconds
                    )

    def _report_stuck(self) -> None:
        now = self._clock.now()
        with self._lock:
            stuck = {
                uuid: check
                for uuid, check in self._checks.items()
                if check.stuck_at_seconds <= now and not check.reported
            }
        for uuid, check in stuck.items():
            check.reported = True
            if uuid == LIST:
                self._report_failure(
                    f'libvirt has not answered for {STUCK_SECONDS:.0f} s'
                )
            else:
                reporters.GuestReporter(uuid).restore_stuck(STUCK_SECONDS)

    def _start_due(self) -> None:
        now = self._clock.now()
        with self._lock:
            due = sorted(
                (
                    (uuid, check)
                    for uuid, check in self._checks.items()
                    if check.began_at_seconds is None
                    and check.state.due_at_seconds <= now
                ),
                key=lambda item: item[1].state.due_at_seconds,
            )
        for uuid, check in due:
            if not self._has_room(now):
                return
            with self._lock:
                if self._checks.get(uuid) is not check:
                    continue  # forgotten meanwhile, as it has no entry
                check.began_at_seconds = now
            worker = threading.Thread(
                target=self._work,
                args=(uuid, check),
                daemon=True,
                name='freemem-restore',
            )
            try:
                worker.start()
            except RuntimeError:  # nova-compute is out of threads
                self._work(uuid, check)

    def _has_room(self, now_seconds: float) -> bool:
        """Return whether one more worker may be started."""
        with self._lock:
            stuck_at_seconds = [
                check.stuck_at_seconds
                for check in self._checks.values()
                if check.began_at_seconds is not None
            ]
        stuck = sum(at <= now_seconds for at in stuck_at_seconds)
        return len(stuck_at_seconds) < self._workers + min(stuck, MOST_STUCK)

    def _pause_seconds(self) -> float:
        """Return the seconds until there is something to do.

        A check that ends before wakes us.
        """
        now = self._clock.now()
        has_room = self._has_room(now)
        times = [now + self._interval_seconds]
        with self._lock:
            for check in self._checks.values():
                if check.began_at_seconds is None:
                    if has_room:
                        times.append(check.state.due_at_seconds)
                elif not check.reported:
                    times.append(check.stuck_at_seconds)
        return max(0.0, min(times) - now)

    def _work(self, uuid: str, check: _Check) -> None:
        """Do one check, in a worker."""
        following: State | None = schedule.postponed(
            check.state, self._clock.now(), self._interval_seconds
        )
        try:
            if not self._stopped:
                following = (
                    self._list_guests()
                    if uuid == LIST
                    else self._check(uuid, check.state)
                )
        finally:
            self._end(uuid, check, following)

    def _end(self, uuid: str, check: _Check, following: State | None) -> None:
        """Remember what came of a check; due again in the future only."""
        now = self._clock.now()
        with self._lock:
            check.reported = check.reported and check.stuck_at_seconds <= now
            check.began_at_seconds, check.ended_at_seconds = None, now
            state = following or State()
            if check.notified:
                state = schedule.notified(state, now, now)
            elif following is None:
                del self._checks[uuid]
            check.notified = False
            check.state = schedule.later_than(state, now)
        self._wake.set()

    def _list_guests(self) -> State:
        """Have all guests with an entry checked, and forget the others."""
        began_at_seconds = self._clock.now()
        following = State(began_at_seconds + self._interval_seconds)
        try:
            entries = self._host.journal_entries()
        except Exception as error:
            self._report_failure(error)
            return following
        self._failing = False
        with self._lock:
            for uuid in entries:
                self._checks.setdefault(uuid, _Check())
            for uuid in set(self._checks) - set(entries) - {LIST}:
                check = self._checks[uuid]
                if (
                    check.began_at_seconds is None
                    and -math.inf < check.ended_at_seconds < began_at_seconds
                ):
                    del self._checks[uuid]
        return following

    def _report_failure(self, error: Exception | str) -> None:
        if not self._failing:
            LOG.warning(
                'Could not check the guests of this host for outstanding '
                'memory: %s. The next attempt is in %d s.',
                error,
                self._interval_seconds,
            )
        self._failing = True

    def _check(self, uuid: str, state: State) -> State | None:
        """Check one guest, unless its lock is held.

        :returns: what to remember, None where nothing is
        """
        with self._locks.hold(uuid) as held:
            if not held:  # its holder notifies us
                return schedule.postponed(
                    state, self._clock.now(), self._interval_seconds
                )
            reporter = reporters.GuestReporter(uuid)
            try:
                return self._restore(self._host.guest(uuid), state, reporter)
            except exceptions.DomainGone:
                return None
            except Exception as error:
                following = schedule.failed(
                    state, self._clock.now(), self._interval_seconds
                )
                if schedule.is_reported(following, self._interval_seconds):
                    reporter.restore_failed(error)
                return following

    def _restore(
        self,
        guest: guests.Guest,
        state: State,
        reporter: reporters.GuestReporter,
    ) -> State | None:
        """Look at a guest, and do what is due.

        :returns: what to remember, None where nothing is
        """
        seen, restoration = self._look(guest, state)
        action, following = schedule.decide(
            state, seen, self._clock.now(), self._interval_seconds
        )
        if action is Action.FORGET:
            return None
        if seen.unreadable is not None:
            if action is Action.REPORT:
                reporter.journal_unreadable(seen.unreadable)
            return following
        if seen.entry is not None and action is Action.BEGIN:
            begun = restorations.Restoration(guest, seen.entry, self._clock)
            return dataclasses.replace(following, begun=begun.begun)
        if restoration is None or seen.result is None:
            return following
        if action is Action.FINISH:
            if restoration.is_current():
                restoration.finish()
                reporter.restored(seen.result)
                return None
        elif action is Action.REPORT:
            reporter.restored(seen.result)
        elif action is Action.NUDGE:
            restoration.request_less()
        elif action is Action.REQUEST:
            restoration.request()
        return following

    def _look(
        self, guest: guests.Guest, state: State
    ) -> tuple[Seen, restorations.Restoration | None]:
        """Look at a guest, and continue the restoration that was begun."""
        try:
            entry = journal.read(guest)
        except exceptions.OperationInvalid:
            return Seen(), None  # It is off.
        except exceptions.JournalUnreadable as error:
            return Seen(unreadable=error), None
        if entry is None:
            return Seen(), None
        situation = guest.situation()
        begun = state.begun
        if (
            situation is not guests.Situation.RUNNING
            or begun is None
            or begun.entry != entry
        ):
            return Seen(entry, situation), None
        restoration = restorations.Restoration(
            guest, entry, self._clock, begun
        )
        return Seen(entry, situation, restoration.look()), restoration

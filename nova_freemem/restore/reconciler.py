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

"""Restores outstanding memory of guests on one host.

Nothing else in nova-compute does: after a landing, a failed migration, an
event and at each interval it is only told to look at a guest now. One thread
says which guest is checked when, and each check is done by one of a few
workers. A check is one step of a restoration: it looks the domain up anew,
takes moments, and waits for nothing but libvirt. One that does not return
keeps its worker and its connection to libvirt, and hinders no other guest.

A guest is a migration's from the decision on what to release until the
migration has it restored, and the reconciler's at all other times.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import math
import threading

from oslo_log import log as logging

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.report import events
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import restoration as restorations
from nova_freemem.restore import schedule
from nova_freemem.restore.schedule import Action
from nova_freemem.restore.schedule import Nudge
from nova_freemem.restore.schedule import State
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts

LOG = logging.getLogger(__name__)

# Who had a guest restored is told what has come of it by then. The guest
# stays the reconciler's.
WAIT_SECONDS = events.IN_TIME_SECONDS

# A check takes milliseconds. The worker of one that takes longer than this
# is taken for stuck, and another one may be started in its place.
STUCK_SECONDS = 10.0

# So many are replaced at once. With the usual four beside them, eight of
# libvirtd's twenty workers (max_workers) are left to Nova.
MOST_STUCK = 8

# The key of the check that lists the guests with journal entries.
LIST = ''

#: Shows the restore of what an entry says, as a context manager.
Event = Callable[
    [journal.JournalEntry], contextlib.AbstractContextManager[None]
]


class _Client:
    """Who had a guest restored, and is told what comes of it.

    :ivar reporter: reports on the guest, in Nova's request
    :ivar known: what a migration knows to be outstanding; None once the
                 reconciler remembers it
    :ivar until_seconds: when it is told at the latest, monotonic
    :ivar ended: whether it was told
    :ivar is_done: whether nothing is outstanding here any more
    """

    def __init__(
        self,
        reporter: reporters.GuestReporter,
        until_seconds: float,
        known: journal.JournalEntry | None = None,
        event: Event | None = None,
        during: contextlib.AbstractContextManager[None] | None = None,
    ) -> None:
        self.reporter = reporter
        self.until_seconds = until_seconds
        self.known = known
        self.ended = threading.Event()
        self.is_done = False
        self._event = event
        self._shown = contextlib.ExitStack()
        if during is not None:
            self._shown.enter_context(during)

    def begin(self, entry: journal.JournalEntry) -> None:
        """Show that memory is outstanding; again changes nothing.

        :param entry: what says so
        """
        if self._event is not None and not self.ended.is_set():
            self._shown.enter_context(self._event(entry))
            self._event = None

    def end(self, is_done: bool) -> None:
        """Tell it, once."""
        if not self.ended.is_set():
            self.is_done = is_done
            self._shown.close()
            self.ended.set()


@dataclasses.dataclass
class _Check:
    """What is checked again and again: one guest, or the list of all.

    :ivar state: what is remembered from one time to the next
    :ivar began_at_seconds: when the one under way began, None where none is
    :ivar ended_at_seconds: when the last one ended, monotonic
    :ivar notified: whether another one was asked for meanwhile
    :ivar reported: whether it was reported to be stuck
    :ivar clients: who had the guest restored and was not told yet
    :ivar reporter: the last one's, by which the log shows its request for as
                    long as the guest is not restored
    :ivar is_shown: whether one of them has shown that memory is restored
    """

    state: State = dataclasses.field(default_factory=State)
    began_at_seconds: float | None = None
    ended_at_seconds: float = -math.inf
    notified: bool = False
    reported: bool = False
    clients: list[_Client] = dataclasses.field(default_factory=list)
    reporter: reporters.GuestReporter | None = None
    is_shown: bool = False

    @property
    def stuck_at_seconds(self) -> float:
        """When the one under way is taken for stuck; never where none is."""
        if self.began_at_seconds is None:
            return math.inf
        return self.began_at_seconds + STUCK_SECONDS


class Hold:
    """A guest that a migration has, and nobody else touches."""

    def __init__(
        self, reconciler: Reconciler, uuid: str, lock: locks.Lock
    ) -> None:
        """Initialize the hold on a guest.

        :param reconciler: whose it is otherwise
        :param uuid: the instance
        :param lock: its lock
        """
        self._reconciler = reconciler
        self._uuid = uuid
        self._lock = lock

    def restore(
        self,
        reporter: reporters.GuestReporter,
        known: journal.JournalEntry | None,
    ) -> bool:
        """Give the guest up, have it restored, and wait for that.

        Touch it no more afterwards. It waits for ``WAIT_SECONDS`` at most;
        what takes longer goes on.

        :param reporter: reports on the guest
        :param known: what the migration knows to be outstanding, if it does;
                      written again where it is gone
        :returns: whether nothing is outstanding here any more
        """
        self._lock.give_up()
        return self._reconciler.restore_and_wait(self._uuid, reporter, known)


class Reconciler:
    """Restores the guests of one host."""

    def __init__(
        self,
        host: Callable[[], contextlib.AbstractContextManager[hosts.Host]],
        locks: locks.Locks,
        clock: clocks.Clock,
        interval_seconds: float,
        workers: int,
        counted: Callable[[int], object] = lambda _guests: None,
        unrequested: Callable[[str, float], object] = lambda _uuid, _s: None,
    ) -> None:
        """Initialize the reconciler.

        :param host: lends this host to one worker
        :param locks: of its guests
        :param clock: for all waits
        :param interval_seconds: how often all guests are checked
        :param workers: how many guests are checked at the same time, besides
                        those whose check is stuck
        :param counted: told, each time all guests are checked, how many have
                        a journal entry; returns at once, does not raise
        :param unrequested: told a guest's UUID, as it has all its memory and
                            nobody has it restored, and how many seconds that
                            took; returns at once, does not raise
        """
        self._host = host
        self._locks = locks
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._workers = workers
        self._counted = counted
        self._unrequested = unrequested
        # Guards all of the following; nobody waits while it is held.
        self._lock = threading.Lock()
        self._checks = {LIST: _Check()}
        self._notified: dict[str, list[_Client]] = {}
        self._running = False
        self._wake = threading.Event()
        self._stopped = False
        self._failing = False

    def start(self) -> None:
        """Start in a thread, which has all guests checked at once."""
        thread = threading.Thread(
            target=self._run, daemon=True, name='freemem-reconcile'
        )
        self._running = True
        try:
            thread.start()
        except RuntimeError as error:
            self._running = False
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
        self._notify(uuid)

    def restore(
        self,
        uuid: str,
        reporter: reporters.GuestReporter,
        event: Event,
        during: contextlib.AbstractContextManager[None],
    ) -> None:
        """Have a guest restored soon, and reported on; returns at once.

        :param uuid: the instance
        :param reporter: reports on it
        :param event: what it returns is entered once memory is seen to be
                      outstanding, and left once it is restored, or after
                      ``WAIT_SECONDS``
        :param during: entered at once, and left with the event, or where
                       nothing is outstanding
        """
        until_seconds = self._clock.now() + WAIT_SECONDS
        self._notify(
            uuid,
            _Client(reporter, until_seconds, event=event, during=during),
        )

    def restore_and_wait(
        self,
        uuid: str,
        reporter: reporters.GuestReporter,
        known: journal.JournalEntry | None,
    ) -> bool:
        """Have a guest restored whose lock the caller does not hold.

        See :meth:`Hold.restore`. Where no thread has the guests checked, as
        nova-compute ends for one, this is done by the caller.

        :param uuid: the instance
        :param reporter: reports on it
        :param known: what is known to be outstanding, if anything
        """
        until_seconds = self._clock.now() + WAIT_SECONDS
        deadline = clocks.Deadline(
            self._clock, WAIT_SECONDS + 2 * schedule.SHORTEST_SECONDS
        )
        client = _Client(reporter, until_seconds, known)
        self._notify(uuid, client)
        if self._running:
            self._clock.wait(WAIT_SECONDS, until=client.ended)
        if self._running or client.is_done:
            return client.is_done
        if client.ended.is_set():  # as the thread ended
            client = _Client(reporter, until_seconds, known)
            self._notify(uuid, client)
        while not client.ended.is_set() and not deadline.passed():
            self._check_now(uuid, deadline)
        return client.is_done

    @contextlib.contextmanager
    def hold(self, uuid: str, wait_seconds: float) -> Iterator[Hold | None]:
        """Keep a guest for a migration, and have it checked afterwards.

        :param uuid: the instance
        :param wait_seconds: how long to wait for its restoration to end, if
                             somebody had it restored, and for its lock
        :returns: the hold, as a context manager; None where the guest must
                  not be touched
        """
        deadline = clocks.Deadline(self._clock, wait_seconds)
        for client in self._clients(uuid):
            self._clock.wait(deadline.left_seconds(), until=client.ended)
        try:
            with self._locks.hold(uuid, deadline.left_seconds()) as lock:
                yield None if lock is None else Hold(self, uuid, lock)
        finally:
            self.notify(uuid)

    def remembered(self) -> dict[str, State]:
        """Return what is remembered of guests, by the UUID of the guest.

        No lock is taken: a signal handler asks as well, on top of whoever
        may hold it. To copy a dictionary is one step of the interpreter.
        """
        return {
            uuid: check.state
            for uuid, check in dict(self._checks).items()
            if uuid != LIST
        }

    def _notify(self, uuid: str, *clients: _Client) -> None:
        with self._lock:
            self._notified.setdefault(uuid, []).extend(clients)
        self._wake.set()

    def _clients(self, uuid: str) -> list[_Client]:
        with self._lock:
            check = self._checks.get(uuid)
            clients = [] if check is None else check.clients
            return [*self._notified.get(uuid, []), *clients]

    def _run(self) -> None:
        try:
            self._run_until_stopped()
        finally:
            with self._lock:
                self._running = False
                uuids = {*self._checks, *self._notified}
            # Nobody tells them any more.
            for uuid in uuids:
                for client in self._clients(uuid):
                    client.end(False)

    def _run_until_stopped(self) -> None:
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
                uuid, clients = self._notified.popitem()
                check = self._checks.setdefault(uuid, _Check())
                check.clients += clients
                for client in clients:
                    check.reporter = client.reporter
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
                continue
            with self._lock:
                clients, check.clients = check.clients, []
            reporter = _reporter(uuid, check)
            reporter.restore_stuck(STUCK_SECONDS)
            for client in clients:
                client.end(False)

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
                # Those first for whom somebody waits.
                key=lambda item: (
                    not item[1].clients,
                    item[1].state.due_at_seconds,
                ),
            )
        for uuid, check in due:
            if not self._has_room(now):
                return
            with self._lock:
                if self._checks.get(uuid) is not check:
                    continue  # forgotten meanwhile, as it has no entry
                check.began_at_seconds = now
            worker = threading.Thread(
                target=self._work_unless_stopped,
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

    def _check_now(self, uuid: str, deadline: clocks.Deadline) -> None:
        """Check one guest where no thread does, once that is due."""
        self._take_notified()
        now = self._clock.now()
        with self._lock:
            check = self._checks.get(uuid)
            is_due = (
                check is not None
                and check.began_at_seconds is None
                and check.state.due_at_seconds <= now
            )
            if check is not None and is_due:
                check.began_at_seconds = now
        if check is not None and is_due:
            self._work(uuid, check)
        else:
            self._clock.wait(
                min(deadline.left_seconds(), schedule.SHORTEST_SECONDS)
            )

    def _work_unless_stopped(self, uuid: str, check: _Check) -> None:
        if self._stopped:
            self._end(uuid, check, self._postponed(check.state))
        else:
            self._work(uuid, check)

    def _work(self, uuid: str, check: _Check) -> None:
        """Do one check, in a worker."""
        with self._lock:
            clients = list(check.clients)
            state = check.state
            for client in clients:
                if client.known is not None:
                    state = dataclasses.replace(state, known=client.known)
                client.known = None
            check.state = state  # It is known while the check is stuck, too.
        following: State | None = self._postponed(state)
        try:
            following = (
                self._list_guests()
                if uuid == LIST
                else self._check(uuid, check, state, clients)
            )
        finally:
            self._end(uuid, check, following)

    def _postponed(self, state: State) -> State:
        return schedule.postponed(
            state, self._clock.now(), self._interval_seconds
        )

    def _end(self, uuid: str, check: _Check, following: State | None) -> None:
        """Remember what came of a check; due again in the future only."""
        now = self._clock.now()
        with self._lock:
            check.reported = check.reported and check.stuck_at_seconds <= now
            check.began_at_seconds, check.ended_at_seconds = None, now
            check.clients = [
                client for client in check.clients if not client.ended.is_set()
            ]
            state = following or State()
            if following is None:
                check.is_shown = False
                check.reporter = (
                    check.clients[-1].reporter if check.clients else None
                )
            if check.notified:
                state = schedule.notified(state, now, now)
            elif following is None:
                del self._checks[uuid]
            check.notified = False
            due_at_seconds = min(
                state.due_at_seconds,
                *(client.until_seconds for client in check.clients),
                math.inf,
            )
            check.state = schedule.later_than(
                dataclasses.replace(state, due_at_seconds=due_at_seconds), now
            )
        self._wake.set()

    def _list_guests(self) -> State:
        """Have all guests with an entry checked, and forget the others."""
        began_at_seconds = self._clock.now()
        following = State(began_at_seconds + self._interval_seconds)
        try:
            with self._host() as host:
                entries = host.journal_entries()
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
                    and not check.clients
                    and check.state.known is None
                    and check.state.nudge is not Nudge.HALF
                    and -math.inf < check.ended_at_seconds < began_at_seconds
                ):
                    del self._checks[uuid]
        self._counted(len(entries))
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

    def _check(
        self, uuid: str, check: _Check, state: State, clients: list[_Client]
    ) -> State | None:
        """Check one guest, unless its lock is held.

        :returns: what to remember, None where nothing is
        """
        reporter = _reporter(uuid, check)
        with self._locks.hold(uuid) as lock:
            if lock is None:  # its holder notifies us
                _end(self._late(clients), False)
                return self._postponed(state)
            try:
                with self._host() as host:
                    step = restorations.take_step(
                        host.guest(uuid),
                        state,
                        self._clock,
                        self._interval_seconds,
                        watched=bool(clients),
                    )
            except exceptions.DomainGone:
                _end(clients, True)
                return None
            except Exception as error:
                following = schedule.failed(
                    state, self._clock.now(), self._interval_seconds
                )
                late = self._late(clients)
                if late or schedule.is_reported(
                    following, self._interval_seconds
                ):
                    reporter.restore_failed(error)
                _end(late, False)
                return following
        self._report(
            uuid, check, step, reporter, clients, state.awaits_definition
        )
        return step.following

    def _report(
        self,
        uuid: str,
        check: _Check,
        step: restorations.Step,
        reporter: reporters.GuestReporter,
        clients: list[_Client],
        was_restored: bool,
    ) -> None:
        """Report what came of a step, and tell those who are to know.

        :param was_restored: whether it was reported already that the guest
                             has all its memory
        """
        seen = step.seen
        if seen.unreadable is not None:
            if step.action is Action.REPORT:
                reporter.journal_unreadable(seen.unreadable)
            _end(clients, False)
            return
        if seen.entry is None:
            _end(clients, True)
            return
        for client in clients:
            check.is_shown = check.is_shown or not client.ended.is_set()
            client.begin(seen.entry)
        late = self._late(clients)
        if seen.result is None:
            # One that runs has just begun to get its memory.
            if late and seen.situation is not guests.Situation.RUNNING:
                reporter.restore_waits(seen.situation)
        elif (
            late
            or step.action is Action.REPORT
            or (step.is_restored and (clients or not was_restored))
        ):
            reporter.restored(seen.result)
            if step.is_restored and not check.is_shown:
                self._unrequested(uuid, seen.result.seconds)
        if step.is_restored:
            _end(clients, True)
        _end(late, False)

    def _late(self, clients: list[_Client]) -> list[_Client]:
        """Return those who are to be told now."""
        now = self._clock.now()
        return [
            client
            for client in clients
            if client.until_seconds <= now and not client.ended.is_set()
        ]


def _reporter(uuid: str, check: _Check) -> reporters.GuestReporter:
    return check.reporter or reporters.GuestReporter(uuid)


def _end(clients: list[_Client], is_done: bool) -> None:
    for client in clients:
        client.end(is_done)

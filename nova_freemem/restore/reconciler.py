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

"""Pays, on one host, what guests are still owed when something failed.

There is one thread for all guests. It ends with nova-compute, and does
nothing for a guest that somebody else sees to.
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
from nova_freemem.restore.retry import Verdict
from nova_freemem.restore.retry import attempts_after
from nova_freemem.restore.retry import judge
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts

LOG = logging.getLogger(__name__)

# A guest that has landed is Nova's for now: its own steps take over what was
# begun, and show it in the server's events. They begin a second or two later.
LANDING_SECONDS = 5.0

# What a guest that was asked again makes of it is seen by then.
NUDGED_SECONDS = 1.0

# Shorter waits belong to guests that are being paid as they should.
TOLD_FROM_SECONDS = 10.0


@dataclasses.dataclass
class _Account:
    """What is remembered of one guest until it is settled.

    :ivar tries: how it went so far
    :ivar assignment: what was begun; whose the guest's claim is, his it is
    :ivar nudged: whether it was, and what that brings is yet to be seen
    :ivar complained_of: what was told about an entry that cannot be read
    """

    tries: Attempts = dataclasses.field(default_factory=Attempts)
    assignment: restorations.Restoration | None = None
    nudged: bool = False
    complained_of: str | None = None


class Reconciler:
    """Looks through the guests of one host, and at those it is told of."""

    def __init__(
        self,
        hypervisor: hosts.Host,
        locks: locks.Locks,
        clock: clocks.Clock,
        interval_seconds: float,
    ) -> None:
        """Be ready to start.

        :param hypervisor: this host's
        :param locks: who sees to which of its guests
        :param clock: for all waits
        :param interval_seconds: from one look at all guests to the next
        """
        self._hypervisor = hypervisor
        self._locks = locks
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._accounts: dict[str, _Account] = {}
        self._told_of: set[str] = set()
        self._news = threading.Event()
        self._ended = False
        self._failing = False
        self._look_at_all_seconds = 0.0

    def start(self) -> None:
        """Begin, in a thread; the first look at all guests comes at once."""
        thread = threading.Thread(
            target=self._run, daemon=True, name='freemem-reconcile'
        )
        try:
            thread.start()
        except RuntimeError as fault:
            LOG.error(
                'Nobody looks for guests of this host that are owed '
                'memory: %s. "nova-freemem restore --all" does it once.',
                fault,
            )

    def stop(self) -> None:
        """End, after the guest that is being looked at."""
        self._ended = True
        self._news.set()

    def notify(self, uuid: str) -> None:
        """Have a guest looked at soon; returns at once.

        :param uuid: the instance: it began to run here, or somebody has let
                     go of it
        """
        self._told_of.add(uuid)
        self._news.set()

    def hand_over(self, uuid: str) -> restorations.Restoration | None:
        """Leave a guest to the caller, who holds its claim.

        :param uuid: the instance
        :returns: what was begun for it, if anything
        """
        account = self._accounts.get(uuid)
        if account is None:
            return None
        begun, account.assignment = account.assignment, None
        return begun

    def _run(self) -> None:
        while True:
            self._news.clear()
            if self._ended:  # told before the news were forgotten
                return
            try:
                self._look_around()
                self._failing = False
            except Exception as fault:
                self._tell_of_failure(fault)
            self._clock.wait(self._pause_seconds(), until=self._news)

    def _tell_of_failure(self, fault: Exception) -> None:
        if not self._failing:
            LOG.warning(
                'Could not look through the guests for one that is '
                'owed memory: %s. It is tried again every %d s.',
                fault,
                self._interval_seconds,
            )
        self._failing = True

    def _pause_seconds(self) -> float:
        times = [
            account.tries.next_at_seconds
            for account in list(self._accounts.values())
            if account.tries.times
        ]
        return max(
            0.0, min([self._look_at_all_seconds, *times]) - self._clock.now()
        )

    def _look_around(self) -> None:
        self._look_at_news()
        for uuid in self._due():
            self._look(uuid)
            self._look_at_news()

    def _look_at_news(self) -> None:
        while self._told_of:
            uuid = self._told_of.pop()
            if uuid in self._accounts:
                self._accounts[uuid].tries = Attempts()
            self._look(uuid)

    def _due(self) -> list[str]:
        now = self._clock.now()
        if now < self._look_at_all_seconds:
            return [
                uuid
                for uuid, account in list(self._accounts.items())
                if account.tries.times and account.tries.may_go_on(now)
            ]
        self._look_at_all_seconds = now + self._interval_seconds
        entries = self._hypervisor.journal_entries()
        for settled in set(self._accounts) - set(entries):
            self._accounts.pop(settled, None)
        return [
            uuid
            for uuid in entries
            if uuid not in self._accounts
            or self._accounts[uuid].tries.may_go_on(now)
        ]

    def _look(self, uuid: str) -> None:
        """Look at one guest, unless somebody sees to it or this has ended."""
        if self._ended:
            return
        account = self._accounts.setdefault(uuid, _Account())
        with self._locks.hold(uuid) as ours:
            if not ours:
                account.tries = Attempts()  # Who lets go of it tells of it.
            elif self._settle(uuid, account):
                self._accounts.pop(uuid, None)

    def _settle(self, uuid: str, account: _Account) -> bool:
        """Do for a guest what is due, and tell whether that is all."""
        tell = reporters.GuestReporter(uuid)
        try:
            domain = self._hypervisor.domain(uuid)
            owed = _read(domain, account, tell)
            if owed is None:
                return account.complained_of is None
            situation, now = domain.situation(), self._clock.now()
            if judge(owed, situation, account.tries, now) is Verdict.NOW:
                return self._pay(domain, owed, account, tell)
            account.tries = attempts_after(
                situation, account.tries, now, self._interval_seconds
            )
        except exceptions.DomainGone:
            return True
        except Exception as fault:
            if self._try_is_over(account):
                tell.restore_failed(fault)
        return False

    def _pay(
        self,
        domain: guests.Guest,
        owed: journal.JournalEntry,
        account: _Account,
        tell: reporters.GuestReporter,
    ) -> bool:
        assignment = account.assignment
        if assignment is None or assignment.entry != owed:
            account.assignment = restorations.Restoration(
                domain, owed, self._clock
            )
            account.tries = Attempts(1, self._clock.now() + LANDING_SECONDS)
            return False
        assigned = assignment.check()
        if assigned is None:
            return True
        if assigned.complete:
            tell.restored(assigned)
            return True
        if not account.nudged:
            assignment.nudge()
            account.nudged = True
            account.tries = dataclasses.replace(
                account.tries,
                next_at_seconds=(self._clock.now() + NUDGED_SECONDS),
            )
        elif self._try_is_over(account):
            tell.restored(assigned)
        return False

    def _try_is_over(self, account: _Account) -> bool:
        """Let a guest be for a while, and tell whether to speak of it."""
        account.nudged = False
        account.tries = account.tries.once_more(
            self._clock.now(), self._interval_seconds
        )
        pause_seconds = account.tries.pause_seconds(self._interval_seconds)
        return pause_seconds >= TOLD_FROM_SECONDS


def _read(
    domain: guests.Guest, account: _Account, tell: reporters.GuestReporter
) -> journal.JournalEntry | None:
    """Read what is owed; complain once of what cannot be read."""
    complaint = None
    try:
        return journal.read(domain)
    except exceptions.OperationInvalid:
        return None  # It is off.
    except exceptions.JournalUnreadable as fault:
        complaint = str(fault)
        if complaint != account.complained_of:
            tell.journal_unreadable(fault)
        return None
    finally:
        account.complained_of = complaint

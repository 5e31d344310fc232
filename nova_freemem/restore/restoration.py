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

"""Assign: give a guest its memory back, and see that it arrives."""

from __future__ import annotations

import dataclasses

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests

POLL_SECONDS = 0.1
NUDGE_INTERVAL_SECONDS = 5.0

# What a guest is asked to do without for a moment, so that it has something
# to do and to tell of; its driver begins within milliseconds.
NUDGE_KIB = 1024
NUDGE_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class RestoreResult:
    """What came of it.

    :ivar original_kib: memory the guest is to have
    :ivar before_kib: memory it had when the first request was made
    :ivar after_kib: memory it had when the watch ended, and was said to have
    :ivar seconds: from the first request to the end of the watch
    """

    original_kib: int
    before_kib: int
    after_kib: int
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether the guest has everything."""
        return self.after_kib >= self.original_kib


class Restoration:
    """One guest that is owed memory and has been promised it."""

    def __init__(
        self,
        domain: guests.Guest,
        entry: journal.JournalEntry,
        clock: clocks.Clock,
    ) -> None:
        """Promise it: the balloon begins to deflate.

        :param domain: the guest, where no migration is under way
        :param entry: what its journal says
        :param clock: for the watch
        :raises LibvirtFault: libvirt would not
        """
        self._domain = domain
        self._clock = clock
        self._started_at = clock.now()
        self.entry = entry
        self._before_kib = self._actual_kib()
        self.request()

    def is_current(self) -> bool:
        """Tell whether what was promised is still what is owed.

        :returns: False where the entry was settled, or replaced, meanwhile:
                  then this is over
        :raises LibvirtFault: libvirt would not
        """
        try:
            return journal.read(self._domain) == self.entry
        except exceptions.JournalUnreadable:
            return False

    def request(self) -> None:
        """Ask for it.

        :raises LibvirtFault: libvirt would not
        """
        self._domain.set_balloon_kib(self.entry.original_kib, definition=True)

    def nudge(self) -> None:
        """Ask for a little less, and then for it: takes half a second.

        A guest that was started anew with its balloon inflated has all its
        memory, and nobody is told: its driver sees no difference to make up
        for, and QEMU goes on showing what the driver before it said. An event
        that libvirt missed is made good in the same way.

        :raises LibvirtFault: libvirt would not
        """
        self._domain.set_balloon_kib(self.entry.original_kib - NUDGE_KIB)
        self._clock.wait(NUDGE_SECONDS)
        self.request()

    def check(self) -> RestoreResult | None:
        """See how much has arrived; erase the entry once all has.

        :returns: what came of it so far; None where it does not stand any
                  more
        :raises LibvirtFault: libvirt would not
        """
        assigned = RestoreResult(
            self.entry.original_kib,
            self._before_kib,
            self._arrived_kib(),
            self._clock.now() - self._started_at,
        )
        if not self.is_current():
            return None
        if assigned.complete:
            self._domain.set_stats_period_seconds(
                self.entry.stats_period_seconds, definition=True
            )
            journal.erase(self._domain)
        return assigned

    def watch(self, wait_seconds: float) -> RestoreResult | None:
        """See that it arrives, and ask again from time to time.

        :param wait_seconds: how long to watch, 0 for one look
        :returns: as :meth:`look` does; may be called again
        :raises LibvirtFault: libvirt would not
        """
        deadline = clocks.Deadline(self._clock, wait_seconds)
        nudge = clocks.Deadline(self._clock, NUDGE_INTERVAL_SECONDS)
        while True:
            assigned = self.check()
            if assigned is None or assigned.complete or deadline.passed():
                return assigned
            if nudge.passed():
                self.nudge()
                nudge = clocks.Deadline(self._clock, NUDGE_INTERVAL_SECONDS)
            self._clock.wait(POLL_SECONDS)

    def _arrived_kib(self) -> int:
        """Read what the guest has, by libvirt's description as well.

        That is what its next migration makes its definition of.
        """
        actual_kib = self._actual_kib()
        if actual_kib < self.entry.original_kib:
            return actual_kib
        return min(
            actual_kib,
            domain_xml.current_memory_kib(self._domain.xml()),
        )

    def _actual_kib(self) -> int:
        balloon = self._domain.memory_stats()
        return 0 if balloon is None else balloon.actual_kib


def begin(domain: guests.Guest, clock: clocks.Clock) -> Restoration | None:
    """Start giving back what the journal says is owed.

    :param domain: the guest, where no migration is under way
    :param clock: for the watch
    :returns: the assignment to watch, or None where nothing is owed to a
              guest that runs
    :raises JournalUnreadable: there is an entry that makes no sense
    :raises LibvirtFault: libvirt would not
    """
    try:
        entry = journal.read(domain)
    except exceptions.OperationInvalid:
        return None  # It is off; Nova starts guests with all their memory.
    return None if entry is None else Restoration(domain, entry, clock)

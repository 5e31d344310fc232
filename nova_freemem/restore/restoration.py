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

"""Restore the memory of one guest, and see that it arrives."""

from __future__ import annotations

import dataclasses

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import TOLERANCE_KIB

POLL_SECONDS = 0.1
NUDGE_INTERVAL_SECONDS = 5.0

# The guest gets a target this much smaller for a moment, so that its driver
# has something to do and to report; it starts within milliseconds. A guest
# that has reached that target is not taken for one that has all its memory.
NUDGE_KIB = 2 * TOLERANCE_KIB
NUDGE_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class RestoreResult:
    """How much of the memory of a guest was restored.

    :ivar original_kib: memory the guest is to have
    :ivar before_kib: memory it had when the first request was made
    :ivar after_kib: memory it had, also by libvirt's XML, at the last check
    :ivar seconds: from the first request to the last check
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


class Restoration:
    """The restore of one guest's memory, from the request to its end."""

    def __init__(
        self,
        guest: guests.Guest,
        entry: journal.JournalEntry,
        clock: clocks.Clock,
        begun: Begun | None = None,
    ) -> None:
        """Initialize the restoration and request the memory.

        The balloon starts to deflate.

        :param guest: the guest, where no migration is under way
        :param entry: its journal entry
        :param clock: for waits
        :param begun: the restoration of this entry to continue; nothing is
                      requested then
        :raises LibvirtError: the request failed
        """
        self._guest = guest
        self._clock = clock
        self.entry = entry
        if begun is not None:
            self.begun = begun
            return
        now_seconds = clock.now()
        self.begun = Begun(entry, self._actual_kib(), now_seconds)
        self.request()

    def is_current(self) -> bool:
        """Return whether the journal entry is still the one restored here.

        :returns: False where the entry was erased or replaced meanwhile:
                  then this restoration is over
        :raises LibvirtError: the entry could not be read
        """
        try:
            return journal.read(self._guest) == self.entry
        except exceptions.JournalUnreadable:
            return False

    def request(self) -> None:
        """Request all memory, now and in the persistent definition.

        :raises LibvirtError: the request failed
        """
        self._guest.set_balloon_kib(self.entry.original_kib, definition=True)

    def request_less(self) -> None:
        """Request a little less than all memory: the first half of a nudge.

        :raises LibvirtError: the request failed
        """
        self._guest.set_balloon_kib(self.entry.original_kib - NUDGE_KIB)

    def nudge(self) -> None:
        """Request a little less, then all memory; takes half a second.

        A guest that was rebooted with its balloon inflated has all its
        memory, and nobody notices: its driver sees no difference to act on,
        and QEMU still shows what the driver before it reported. The nudge
        makes the driver report. It also makes up for an event that libvirt
        missed.

        :raises LibvirtError: the request failed
        """
        self.request_less()
        self._clock.wait(NUDGE_SECONDS)
        self.request()

    def check(self) -> RestoreResult | None:
        """Check how much has arrived; erase the entry once all has.

        :returns: the result so far; None where the entry is not current any
                  more
        :raises LibvirtError: the check failed
        """
        result = self.look()
        if not self.is_current():
            return None
        if result.complete:
            self.finish()
        return result

    def look(self) -> RestoreResult:
        """Return how much has arrived; the entry may not be current.

        :raises LibvirtError: it could not be read
        """
        return RestoreResult(
            self.entry.original_kib,
            self.begun.before_kib,
            self._arrived_kib(),
            self._clock.now() - self.begun.at_seconds,
        )

    def finish(self) -> None:
        """Set the statistics period back, and erase the entry.

        :raises LibvirtError: one of them failed; the entry is still there
        """
        self._guest.set_stats_period_seconds(
            self.entry.stats_period_seconds, definition=True
        )
        journal.erase(self._guest)

    def watch(self, wait_seconds: float) -> RestoreResult | None:
        """Check until all has arrived, with a nudge from time to time.

        :param wait_seconds: how long to watch, 0 for one check
        :returns: as :meth:`check` does; may be called again
        :raises LibvirtError: a check or a nudge failed
        """
        deadline = clocks.Deadline(self._clock, wait_seconds)
        nudge = clocks.Deadline(self._clock, NUDGE_INTERVAL_SECONDS)
        while True:
            result = self.check()
            if result is None or result.complete or deadline.passed():
                return result
            if nudge.passed():
                self.nudge()
                nudge = clocks.Deadline(self._clock, NUDGE_INTERVAL_SECONDS)
            self._clock.wait(POLL_SECONDS)

    def _arrived_kib(self) -> int:
        """Return the memory of the guest, by libvirt's XML as well.

        The definition at its next destination is made from that XML.
        """
        actual_kib = self._actual_kib()
        if not is_whole(actual_kib, self.entry.original_kib):
            return actual_kib
        return min(
            actual_kib,
            domain_xml.current_memory_kib(self._guest.xml()),
        )

    def _actual_kib(self) -> int:
        balloon = self._guest.memory_stats()
        return 0 if balloon is None else balloon.actual_kib


def is_whole(actual_kib: int, original_kib: int) -> bool:
    """Return whether a guest has all its memory, up to the tolerance.

    :param actual_kib: what it has; nothing is never all
    :param original_kib: what it is to have
    """
    return actual_kib >= max(1, original_kib - TOLERANCE_KIB)


def begin(guest: guests.Guest, clock: clocks.Clock) -> Restoration | None:
    """Start restoring outstanding memory of a guest.

    :param guest: the guest, where no migration is under way
    :param clock: for waits
    :returns: the restoration to watch, or None where no memory is
              outstanding, or the guest is off
    :raises JournalUnreadable: there is an entry that cannot be read
    :raises LibvirtError: the request failed
    """
    try:
        entry = journal.read(guest)
    except exceptions.OperationInvalid:
        return None  # It is off; Nova starts guests with all their memory.
    return None if entry is None else Restoration(guest, entry, clock)

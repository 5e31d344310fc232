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

"""The seam of releasers, and what a release comes to."""

from __future__ import annotations

import abc
from collections.abc import Callable
import contextlib
import dataclasses
import enum

from nova_freemem import clock as clocks
from nova_freemem.plan.planner import Plan
from nova_freemem.virt import guest as guests


class Phase(enum.Enum):
    """Where a migration is while memory is released."""

    BEFORE_TRANSFER = 'before the transfer'
    DURING_TRANSFER = 'during the transfer'


class EndReason(enum.Enum):
    """Why a release ended; its value is for people."""

    TARGET_REACHED = 'all of it'
    SWAPS_OUT = 'the guest swaps out'
    READS_AGAIN = 'the guest reads again what it had in memory'
    RESIDENT_RELEASED = 'all of it that was resident'
    NEARLY_DONE = 'the rest during the transfer'
    NO_PROGRESS = 'the guest gives up nothing more'
    NOT_WORTHWHILE = 'the rest would not shorten the transfer'
    DEADLINE = 'deadline_seconds passed'
    FORCE_COMPLETE = 'the migration was forced to complete'
    TRANSFER_ENDED = 'the transfer ended'
    NOT_OURS = 'somebody else moves the balloon'
    ABORTED = 'the migration was aborted'
    SHUTDOWN = 'nova-compute is stopping'
    NO_EFFECT = 'the resident size does not fall'
    PRESSURE = 'the guest came under memory pressure'
    KILLED = 'its kernel has killed a process for want of memory'
    SILENT = 'the guest has stopped reporting'
    GREW = 'the guest takes memory back by itself'
    POST_COPY = 'post-copy begins'
    COPYING_DISKS = 'the disks are still being copied'

    @property
    def restores(self) -> bool:
        """Whether what was released is restored at once."""
        return self in (
            EndReason.ABORTED,
            EndReason.SHUTDOWN,
            EndReason.NO_EFFECT,
            EndReason.PRESSURE,
            EndReason.KILLED,
            EndReason.SILENT,
            EndReason.GREW,
            EndReason.POST_COPY,
            EndReason.COPYING_DISKS,
        )


@dataclasses.dataclass(frozen=True)
class Observation:
    """The guest at one moment.

    :ivar at_seconds: when, monotonic
    :ivar actual_kib: memory the guest has
    :ivar rss_kib: its resident size on the host
    :ivar available_kib: memory it could give up without swapping, as it
                         reported a second ago or less; None where it does
                         not report it
    :ivar swapped_out_kib: what it swapped out since it booted; None where
                           it does not report it
    :ivar free_kib: memory it used for nothing, reported as that
    :ivar oom_kills: processes that its kernel killed for want of memory since
                     it booted; None where it does not report it
    :ivar major_faults: page faults that had to wait for a disk, since it
                        booted; None where it does not report it
    :ivar reread_kib: page cache that it has missed, and read from its disks
                      again, since the release began; None where it does not
                      report it
    :ivar last_update_seconds: QEMU's stamp of what the guest reported, None
                               where there is none
    :ivar reported_at_seconds: when that was first observed, monotonic; None
                               where that is now
    """

    at_seconds: float
    actual_kib: int
    rss_kib: int
    available_kib: int | None = None
    swapped_out_kib: int | None = None
    free_kib: int | None = None
    oom_kills: int | None = None
    major_faults: int | None = None
    reread_kib: int | None = None
    last_update_seconds: int | None = None
    reported_at_seconds: float | None = None

    def after(self, earlier: Observation | None) -> Observation:
        """Return it with the moment at which its report was first observed.

        :param earlier: the observation before it, None where there is none
        """
        if (
            earlier is None
            or earlier.last_update_seconds != self.last_update_seconds
        ):
            return self
        since_seconds = earlier.reported_at_seconds
        if since_seconds is None:
            since_seconds = earlier.at_seconds
        return dataclasses.replace(self, reported_at_seconds=since_seconds)


@dataclasses.dataclass(frozen=True)
class Release:
    """What was released of a guest.

    :ivar end: why the release ended
    :ivar released_kib: what the guest gave up
    :ivar resident_fall_kib: by how much its resident size fell
    :ivar rss_kib: its resident size afterwards
    :ivar target_kib: memory it was left with in the end
    :ivar seconds: how long it took
    :ivar dropped_kib: page cache that the guest's kernel dropped for it when
                       it was asked to
    :ivar not_dropped: why it did not drop all that it was to, '' where it did
    :ivar sent_kib: what its transfer had sent by the end of the release
    """

    end: EndReason
    released_kib: int
    resident_fall_kib: int
    rss_kib: int
    target_kib: int
    seconds: float
    dropped_kib: int = 0
    not_dropped: str = ''
    sent_kib: int = 0


class Reclaimer(abc.ABC):
    """A way to have a guest drop cold page cache, which a releaser then takes.

    It acts; how much is dropped, and when no more, is decided in
    :mod:`nova_freemem.release.reclaim_rules`. What is dropped is the guest's
    own as before, and need not be restored.
    """

    def __init__(self, name: str, timeout_seconds: int) -> None:
        """Initialize it.

        :param name: the extension's name, for messages
        :param timeout_seconds: the longest wait for one answer of the guest
        """
        self.name = name
        self.timeout_seconds = timeout_seconds

    @abc.abstractmethod
    def dropping(
        self,
        guest: guests.Guest,
        plan: Plan,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> contextlib.AbstractContextManager[Callable[[int], int]]:
        """Get ready to have a guest drop page cache.

        It is called in a thread of its own, and so is what it returns.

        :param guest: the guest
        :param plan: what is to be released of it
        :param clock: for waits
        :param deadline: when to stop asking
        :returns: a context manager of a function that is given KiB, has the
                  guest drop as much page cache as that, or up to twice as
                  much, the coldest first and nothing else, and returns how
                  many KiB it has dropped
        :raises FreememError: the guest cannot, or has no more to drop; the
                              function raises that as well
        """


class Releaser(abc.ABC):
    """A way to release memory of a guest.

    It observes and acts; when to go on and when to stop is decided in
    :mod:`nova_freemem.release.watch`. The journal has its entry before a
    releaser is called. Whatever its methods raise, all memory of the guest
    is restored.
    """

    @abc.abstractmethod
    def observe(self, guest: guests.Guest, now_seconds: float) -> Observation:
        """Return how the guest is now; called several times a second.

        :param guest: the guest
        :param now_seconds: monotonic, for the observation
        :returns: the observation
        :raises DomainGone: the guest has left this host
        :raises OperationInvalid: it does not run any more
        :raises FreememError: it cannot be observed
        """

    @abc.abstractmethod
    def set_target(
        self, guest: guests.Guest, target_kib: int, phase: Phase
    ) -> None:
        """Begin to bring a guest to a size, and do not wait for it.

        Called once to start a release, and to stop or undo one.

        :param guest: the guest
        :param target_kib: memory it is to have
        :param phase: whether libvirt's own calls work, as they do before the
                      transfer, or would wait for the transfer to end
        :raises FreememError: it could not be done
        """

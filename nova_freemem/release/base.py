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

"""What came of a release, and who can do one."""

from __future__ import annotations

import abc
import dataclasses
import enum

from nova_freemem import clock as clocks
from nova_freemem.plan.planner import Plan
from nova_freemem.virt import guest as guests


class EndReason(enum.Enum):
    """Why a release ended; its value is for people."""

    TARGET_REACHED = 'all of it'
    RESIDENT_RELEASED = 'all of it that was resident'
    NEARLY_DONE = 'the rest beside the transfer'
    NO_PROGRESS = 'the guest gives nothing more'
    DEADLINE = 'deadline_seconds passed'
    FORCE_COMPLETE = 'the migration was forced to complete'
    TRANSFER_ENDED = 'the transfer was quicker'
    NOT_OURS = 'somebody else moves the balloon'
    ABORTED = 'the migration was aborted'
    NO_EFFECT = 'the host gains nothing from what the guest gives'
    PRESSURE = 'the guest needs its memory'

    @property
    def restores(self) -> bool:
        """Whether what was taken goes back at once."""
        return self in (
            EndReason.ABORTED,
            EndReason.NO_EFFECT,
            EndReason.PRESSURE,
        )


@dataclasses.dataclass(frozen=True)
class Release:
    """What was taken from a guest.

    :ivar end: why it ended
    :ivar released_kib: what the guest gave
    :ivar resident_fall_kib: by how much its resident size fell
    :ivar rss_kib: its resident size afterwards
    :ivar target_kib: memory its balloon was told to leave it in the end
    :ivar seconds: how long it took
    """

    end: EndReason
    released_kib: int
    resident_fall_kib: int
    rss_kib: int
    target_kib: int
    seconds: float


class Releaser(abc.ABC):
    """Someone who can take memory from a guest.

    The journal says already what the guest is owed. Whatever these methods
    raise, the caller gives everything back.
    """

    @abc.abstractmethod
    def start(self, domain: guests.Guest, plan: Plan) -> None:
        """Begin to take what the plan says, and do not wait.

        :param domain: the guest; no transfer is under way
        :param plan: what to take
        :raises FreememError: it could not be done
        """

    @abc.abstractmethod
    def watch(
        self,
        domain: guests.Guest,
        plan: Plan,
        requests: clocks.Requests,
        clock: clocks.Clock,
        deadline: clocks.Deadline | None,
    ) -> Release:
        """Stay with a release until it ends.

        :param domain: the guest
        :param plan: what is being taken
        :param requests: abort, force-complete and the end of the transfer
                       arrive here
        :param clock: for waits
        :param deadline: when to stop, keeping what was taken by then; None
                         where the release keeps nobody waiting, because the
                         transfer is under way
        :returns: what came of it; nothing moves any more, but for what goes
                  back
        :raises FreememError: it could not be done
        """

    @abc.abstractmethod
    def hold(
        self,
        domain: guests.Guest,
        plan: Plan,
        requests: clocks.Requests,
        clock: clocks.Clock,
    ) -> bool:
        """Stay with a guest whose memory is taken, until its transfer ends.

        :param domain: the guest, whose transfer is under way
        :param plan: what was taken; its target is the release's
        :param requests: the end of the transfer arrives here
        :param clock: for waits
        :returns: False where the guest needed its memory and it went back
        :raises FreememError: it could not be done
        """

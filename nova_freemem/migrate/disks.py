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

"""Waiting, while the disks of a guest are copied, to release its memory."""

from __future__ import annotations

from collections.abc import Callable

from nova_freemem import clock as clocks
from nova_freemem.plan import disk_copy
from nova_freemem.plan.disk_copy import DiskCopy
from nova_freemem.release.requests import Requests
from nova_freemem.virt import guest as guests


class MemoryDeadline(clocks.Deadline):
    """A moment by which memory must be being sent.

    What was released for a copy of disks that takes longer than was foretold
    is not kept from the guest for longer than this.
    """

    def __init__(
        self, guest: guests.Guest, clock: clocks.Clock, seconds: float
    ) -> None:
        """Initialize the moment.

        :param guest: the guest
        :param clock: tells the time
        :param seconds: from now on
        """
        super().__init__(clock, seconds)
        self._guest = guest
        self._copy = DiskCopy()

    def passed(self) -> bool:
        """Return whether the moment has come, and memory is not being sent.

        :raises LibvirtError: it could not be read
        """
        if self._copy.is_over or not super().passed():
            return False
        self._copy.add(self._clock.now(), self._guest.transfer_progress())
        return not self._copy.is_over


def wait_for_memory(
    guest: guests.Guest,
    copy: DiskCopy,
    release_seconds: Callable[[], float],
    most_ahead_seconds: float,
    clock: clocks.Clock,
    requests: Requests,
) -> None:
    """Wait until it is time to release, memory is being sent, or a request.

    :param guest: the guest, in a transfer
    :param copy: takes in how far its disks are
    :param release_seconds: returns how long a release will take
    :param most_ahead_seconds: how long before the end of the copy a release
                               begins at most, 0.0 for not before
    :param clock: for waits
    :param requests: the end of the transfer arrives here, and whatever else
                     keeps memory from being released
    :raises LibvirtError: the transfer could not be seen
    """
    while requests.latest is None:
        copy.add(clock.now(), guest.transfer_progress())
        left_seconds = copy.left_seconds()
        ahead_seconds = most_ahead_seconds
        if disk_copy.is_time_to_release(left_seconds, ahead_seconds):
            ahead_seconds = min(ahead_seconds, release_seconds())
        if copy.is_over or disk_copy.is_time_to_release(
            left_seconds, ahead_seconds
        ):
            return
        clock.wait(
            disk_copy.look_again_seconds(left_seconds, ahead_seconds),
            until=requests.arrived,
        )

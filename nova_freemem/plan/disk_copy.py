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

"""How far libvirt is with the disks, which it copies before memory; pure.

With a block migration libvirt has QEMU mirror the disks to the destination,
and has it send memory once all of them are there. That can take an hour, in
which the guest is to keep what it has: a release begins so long before the
end of the copy as it takes, where that can be known, and otherwise when
memory begins to be sent.
"""

from __future__ import annotations

import collections
import math

from nova_freemem.virt.transfer_progress import TransferProgress

# What is left of the copy is foretold from what became of it in this time.
# The guest writes to its disks meanwhile, and zeros are copied much faster.
WINDOW_SECONDS = 5.0

# Shorter ones say more of how often QEMU counts than of the copy; and libvirt
# begins to have several disks copied one after the other.
LEAST_WINDOW_SECONDS = 1.0

# How often the copy is looked at: each look asks QEMU for all its block jobs.
# That memory is being sent is noticed as late as the longest at most.
SHORTEST_LOOK_SECONDS = 0.2
LONGEST_LOOK_SECONDS = 1.0


class DiskCopy:
    """Reads off a transfer when the copy of the disks will be done.

    :ivar is_over: whether memory is being sent
    """

    def __init__(self) -> None:
        """Initialize it before the transfer."""
        self.is_over = False
        self._remaining: collections.deque[tuple[float, float]] = (
            collections.deque()
        )

    def add(
        self, now_seconds: float, progress: TransferProgress | None
    ) -> None:
        """Take in the figures of one more moment.

        :param now_seconds: monotonic
        :param progress: what libvirt tells, None where no job is under way
        """
        if progress is None:
            return
        # Nothing of memory is sent before; to its disks the guest writes until
        # it lands.
        self.is_over = progress.sent_kib > 0
        seen = self._remaining
        remaining_kib = progress.disks_remaining_kib
        if remaining_kib is None or not (seen or remaining_kib):
            return  # libvirt tells nothing, or QEMU has not begun to copy.
        seen.append((now_seconds, remaining_kib))
        while len(seen) > 1 and now_seconds - seen[1][0] >= WINDOW_SECONDS:
            seen.popleft()

    def left_seconds(self) -> float | None:
        """Return how long the copy will take, None where that is not known.

        A copy that does not come nearer to its end takes for ever.
        """
        if not self._remaining:
            return None
        first_at, first_kib = self._remaining[0]
        last_at, last_kib = self._remaining[-1]
        if last_at - first_at < LEAST_WINDOW_SECONDS:
            return None
        copied_kib = first_kib - last_kib
        if copied_kib <= 0:
            return math.inf
        return last_kib * (last_at - first_at) / copied_kib


def is_time_to_release(
    left_seconds: float | None, ahead_seconds: float
) -> bool:
    """Return whether a release, begun now, ends with the copy of the disks.

    :param left_seconds: how long the copy will take, None where that is not
                         known
    :param ahead_seconds: how long before its end a release is to begin, 0.0
                          for not before
    """
    return left_seconds is not None and left_seconds < ahead_seconds


def look_again_seconds(
    left_seconds: float | None, ahead_seconds: float
) -> float:
    """Return when the copy is to be looked at again.

    :param left_seconds: how long the copy will take, None where that is not
                         known
    :param ahead_seconds: how long before its end a release is to begin, 0.0
                          for not before
    """
    if left_seconds is None:
        return SHORTEST_LOOK_SECONDS
    return min(
        LONGEST_LOOK_SECONDS,
        max(SHORTEST_LOOK_SECONDS, (left_seconds - ahead_seconds) / 2),
    )

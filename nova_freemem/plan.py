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

"""How much to take from a guest, or why to leave it alone: pure."""

from __future__ import annotations

import dataclasses

from nova_freemem.acquire.base import FreeMemory
from nova_freemem.policy import Policy
from nova_freemem.reasons import LeaveAlone
from nova_freemem.reasons import Reason

# The balloon takes what the guest's allocator hands out, never-touched
# memory too, which costs time and saves nothing. Releasing first pays where
# saving / link rate > release / release rate. At 1 Gb/s (119 MiB/s) and the
# slowest release measured (400 MiB/s, emulated processors) that is where
# more than 30 % of what is taken is resident.
LEAST_RESIDENT_SHARE = 0.3


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be taken from one guest before its transfer.

    :ivar original_kib: memory it has, and is to have again
    :ivar target_kib: memory it has during the transfer
    :ivar never_touched_kib: of its memory, what the host does not hold
    :ivar expected_saving_kib: memory that need not be transferred
    :ivar source: who told what is free
    """

    original_kib: int
    target_kib: int
    never_touched_kib: int
    expected_saving_kib: int
    source: str

    @property
    def release_kib(self) -> int:
        """What is to be taken."""
        return self.original_kib - self.target_kib

    def expected_fall_kib(self, taken_kib: int) -> int:
        """Tell by how much the resident size must have fallen, at least.

        The guest may hand out never-touched memory first; only what comes
        after that is known to have been resident.

        :param taken_kib: what the balloon has taken so far
        :returns: KiB
        """
        return max(0, taken_kib - self.never_touched_kib)


def make(memory: FreeMemory, actual_kib: int, rss_kib: int,
         policy: Policy) -> Plan | LeaveAlone:
    """Decide what to take.

    :param memory: what the guest said, plausible
    :param actual_kib: memory it has by its balloon
    :param rss_kib: resident memory of its QEMU process
    :param policy: the host's
    :returns: the plan, or the reason for leaving the guest alone
    """
    headroom_kib = policy.headroom_kib(actual_kib)
    spare_kib = memory.free_kib
    if memory.available_kib is not None:
        spare_kib = min(spare_kib, memory.available_kib)
    release_kib = spare_kib - headroom_kib
    if release_kib <= 0:
        return LeaveAlone(
            Reason.NOTHING_FREE,
            f'{spare_kib // 1024} MiB free, headroom '
            f'{headroom_kib // 1024} MiB')
    never_touched_kib = max(0, actual_kib - rss_kib)
    saving_kib = min(release_kib, max(0, memory.free_kib - never_touched_kib))
    worthwhile_kib = max(policy.min_saving_mib * 1024,
                         release_kib * LEAST_RESIDENT_SHARE)
    if saving_kib < worthwhile_kib:
        return LeaveAlone(
            Reason.WOULD_NOT_PAY,
            f'{saving_kib // 1024} MiB resident of '
            f'{release_kib // 1024} MiB free')
    return Plan(
        original_kib=actual_kib,
        target_kib=actual_kib - release_kib,
        never_touched_kib=never_touched_kib,
        expected_saving_kib=saving_kib,
        source=memory.source)

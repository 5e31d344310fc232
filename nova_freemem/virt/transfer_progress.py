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

"""What libvirt tells of a transfer that is under way."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from nova_freemem.virt import validation


@dataclasses.dataclass(frozen=True)
class TransferProgress:
    """How far the transfer of a guest's memory, and of its disks, is.

    Whatever libvirt does not tell is None: absent is not zero.

    :ivar sent_kib: sent so far
    :ivar remaining_kib: what is left to be looked at in this pass, and sent
                         unless it is zero
    :ivar zero_kib: found to be zero so far, and not sent
    :ivar passes: how often QEMU has begun to go through the memory
    :ivar throttle_percent: by how much auto-converge slows the guest down
    :ivar disks_remaining_kib: what is left of the disks to be copied
    """

    sent_kib: float
    remaining_kib: float | None = None
    zero_kib: float | None = None
    passes: int | None = None
    throttle_percent: int | None = None
    disks_remaining_kib: float | None = None

    @classmethod
    def from_libvirt(cls, stats: Mapping[str, Any]) -> TransferProgress | None:
        """Read what ``virDomainGetJobStats`` returned.

        :param stats: its dictionary
        :returns: the progress, None where no migration is under way
        """

        def figure(name: str) -> int | None:
            return validation.amount(stats.get(name))

        sent_bytes = figure('memory_processed')
        if sent_bytes is None:
            return None
        remaining_bytes = figure('memory_remaining')
        zero_pages = figure('memory_constant')
        page_bytes = figure('memory_page_size')
        disk_bytes = figure('disk_remaining')
        return cls(
            sent_kib=sent_bytes / 1024,
            remaining_kib=None
            if remaining_bytes is None
            else remaining_bytes / 1024,
            zero_kib=None
            if zero_pages is None or page_bytes is None
            else zero_pages * page_bytes / 1024,
            passes=figure('memory_iteration'),
            throttle_percent=figure('auto_converge_throttle'),
            disks_remaining_kib=None
            if disk_bytes is None
            else disk_bytes / 1024,
        )

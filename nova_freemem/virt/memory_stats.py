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

"""The balloon as the host sees it, and the statistics of its driver."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from nova_freemem.virt import validation

# A Linux balloon moves its pages in batches of this size: 256 pages of 4 KiB.
# A guest that stops this close to a size has that size.
TOLERANCE_KIB = 1024


@dataclasses.dataclass(frozen=True)
class MemoryStats:
    """The balloon as the host sees it, and the guest's own figures.

    Whatever the guest does not report is None: absent is not zero.

    :ivar actual_kib: memory the guest has, its balloon deducted
    :ivar rss_kib: resident memory of the QEMU process, and what the host has
                   swapped out of it
    :ivar total_kib: memory the guest's kernel manages ('available')
    :ivar free_kib: memory the guest uses for nothing at all ('unused')
    :ivar available_kib: memory the guest could spare without swapping
                         ('usable')
    :ivar page_cache_kib: page cache ('disk_caches')
    :ivar swapped_out_kib: swapped out since the guest booted
    :ivar minor_faults: page faults since the guest booted that needed no disk
    :ivar major_faults: page faults that had to wait for one
    :ivar last_update_seconds: when the guest reported, seconds since the
                               epoch; None where it never has
    """

    actual_kib: int
    rss_kib: int | None = None
    total_kib: int | None = None
    free_kib: int | None = None
    available_kib: int | None = None
    page_cache_kib: int | None = None
    swapped_out_kib: int | None = None
    minor_faults: int | None = None
    major_faults: int | None = None
    last_update_seconds: int | None = None

    def is_same_report(self, other: MemoryStats) -> bool:
        """Return whether the guest's own figures are those of another.

        :param other: read at another moment
        :returns: False where the guest has certainly reported between the two
        """
        return other == dataclasses.replace(
            self, actual_kib=other.actual_kib, rss_kib=other.rss_kib
        )

    @classmethod
    def from_libvirt(cls, stats: Mapping[str, Any]) -> MemoryStats | None:
        """Read what ``virDomainMemoryStats`` returned.

        :param stats: its dictionary, KiB
        :returns: the statistics, or None where the domain has no balloon
        """

        def figure(name: str) -> int | None:
            return validation.amount(stats.get(name))

        actual_kib = figure('actual')
        if actual_kib is None:
            return None
        return cls(
            actual_kib=actual_kib,
            rss_kib=figure('rss'),
            total_kib=figure('available'),
            free_kib=figure('unused'),
            available_kib=figure('usable'),
            page_cache_kib=figure('disk_caches'),
            swapped_out_kib=figure('swap_out'),
            minor_faults=figure('minor_fault'),
            major_faults=figure('major_fault'),
            last_update_seconds=figure('last_update') or None,
        )

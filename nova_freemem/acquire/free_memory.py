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

"""What a guest reported of its memory, and which figures are plausible."""

from __future__ import annotations

import dataclasses

from nova_freemem import exceptions
from nova_freemem.virt import validation
from nova_freemem.virt.memory_stats import MemoryStats

# Agent and balloon driver read the same count of the guest's kernel, which
# changes where memory is plugged in or the balloon moves between the two.
SAME_TOTAL_SHARE = 0.01


@dataclasses.dataclass(frozen=True)
class CommitLimit:
    """What a guest that does not overcommit lets its processes ask for.

    Such a guest (``vm.overcommit_memory=2``) refuses memory to a process
    beyond CommitLimit, however much is free.

    :ivar limit_kib: the limit
    :ivar committed_kib: what its processes have asked for
    :ivar share: by how much the limit falls for each KiB that MemTotal does
    :ivar stays: whether the limit stays where the balloon has autodeflate:
                 MemTotal does, in a kernel that is recent enough
    """

    limit_kib: int
    committed_kib: int
    share: float
    stays: bool = False

    @property
    def left_kib(self) -> int:
        """What its processes can ask for yet."""
        return max(0, self.limit_kib - self.committed_kib)


@dataclasses.dataclass(frozen=True)
class NodeMemory:
    """What the guest reported of one of its NUMA nodes.

    :ivar total_kib: memory its kernel manages there
    :ivar free_kib: memory used for nothing at all
    :ivar file_kib: page cache of files
    :ivar inactive_file_kib: of that, what its own LRU calls cold; None where
                             that does not tell
    :ivar unwritten_kib: page cache that is dirty or being written back
    """

    total_kib: int
    free_kib: int
    file_kib: int
    inactive_file_kib: int | None
    unwritten_kib: int

    @property
    def cold_cache_kib(self) -> int:
        """Clean page cache that the guest has not used recently."""
        return max(0, (self.inactive_file_kib or 0) - self.unwritten_kib)


@dataclasses.dataclass(frozen=True)
class CacheCounts:
    """What a guest's kernel has counted of its page cache since it booted.

    A container at a limit of its own drops page cache for what it reads next.
    However much it reads again, no more is held.

    :ivar reread_kib: what it has read from its disks again after it was
                      dropped
    :ivar held_kib: what it holds, and what it has dropped because the guest
                    as a whole was short of memory; None where it does not
                    tell
    """

    reread_kib: int
    held_kib: int | None = None

    def missed_since(self, earlier: CacheCounts, dropped_kib: int) -> int:
        """Return how much of what was dropped for a release was missed.

        :param earlier: what was counted before
        :param dropped_kib: what the guest was asked to drop since
        :returns: KiB it has read again, and holds again unless it was short
                  of memory
        """
        missed_kib = self.reread_kib - earlier.reread_kib
        if self.held_kib is not None and earlier.held_kib is not None:
            missed_kib = min(
                missed_kib, self.held_kib + dropped_kib - earlier.held_kib
            )
        return max(0, missed_kib)


@dataclasses.dataclass(frozen=True)
class FreeMemory:
    """What the guest reported, once, when it was asked.

    Whatever it did not report is None: absent is not zero.

    :ivar source: name of the source that answered
    :ivar total_kib: memory the guest's kernel manages
    :ivar free_kib: memory used for nothing at all
    :ivar available_kib: memory it could spare without swapping
    :ivar page_cache_kib: page cache, shared memory included
    :ivar inactive_file_kib: page cache that the guest's own LRU calls cold;
                             None as well where its LRU does not tell
    :ivar unwritten_kib: page cache that is dirty or being written back
    :ivar swap_free_kib: swap it has left
    :ivar memory_pressure_share: share of the last ten seconds in which all
                                 its tasks were stalled for want of memory
                                 (PSI, "full", avg10)
    :ivar free_blocks: free memory by block size: pairs of a size in KiB and
                       the number of free blocks of that size
    :ivar commit: the guest's limit, None where it has none
    :ivar nodes: its NUMA nodes, where it was asked for more than one
    :ivar active_file_kib: page cache that its own LRU calls hot
    :ivar swap_total_kib: swap it has in all
    """

    source: str
    total_kib: int
    free_kib: int
    available_kib: int | None = None
    page_cache_kib: int | None = None
    inactive_file_kib: int | None = None
    unwritten_kib: int | None = None
    swap_free_kib: int | None = None
    memory_pressure_share: float | None = None
    free_blocks: tuple[tuple[int, int], ...] | None = None
    commit: CommitLimit | None = None
    nodes: tuple[NodeMemory, ...] = ()
    active_file_kib: int | None = None
    swap_total_kib: int | None = None

    @property
    def cold_cache_kib(self) -> int:
        """Clean page cache that the guest has not used recently.

        0 where the guest does not report enough to know.
        """
        if self.inactive_file_kib is None or self.unwritten_kib is None:
            return 0
        return max(0, self.inactive_file_kib - self.unwritten_kib)

    def check(self, maximum_kib: int) -> None:
        """Raise SourceUnavailable if a figure is impossible.

        :param maximum_kib: the memory the host gave the domain
        :raises SourceUnavailable: a figure is negative, or above what the
                                   guest has
        """
        if not 0 < self.total_kib <= maximum_kib:
            self._refuse('a total', self.total_kib, maximum_kib)
        for name in (
            'free_kib',
            'available_kib',
            'page_cache_kib',
            'inactive_file_kib',
            'active_file_kib',
            'unwritten_kib',
        ):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= self.total_kib:
                self._refuse(
                    name.removesuffix('_kib').replace('_', ' '),
                    value,
                    self.total_kib,
                )
        spare_kib = self.free_kib + self.cold_cache_kib
        if spare_kib > self.total_kib:
            self._refuse('free and cold', spare_kib, self.total_kib)
        in_blocks_kib = sum(
            size_kib * count for size_kib, count in self.free_blocks or ()
        )
        if in_blocks_kib > maximum_kib:
            self._refuse('free blocks', in_blocks_kib, maximum_kib)
        if self.commit is not None:
            for value in (self.commit.limit_kib, self.commit.committed_kib):
                if not 0 <= value <= validation.LARGEST:
                    self._refuse('a commit limit', value, validation.LARGEST)
        on_nodes_kib = sum(node.total_kib for node in self.nodes)
        if on_nodes_kib > maximum_kib:
            self._refuse('a total of all nodes', on_nodes_kib, maximum_kib)
        for node in self.nodes:
            cold_kib = node.inactive_file_kib or 0
            for what, value in (
                ('free on a node', node.free_kib),
                ('cache of a node', node.file_kib),
                ('unwritten on a node', node.unwritten_kib),
                ('cold on a node', cold_kib),
                ('free and cache of a node', node.free_kib + node.file_kib),
                ('free and cold on a node', node.free_kib + cold_kib),
            ):
                if not 0 <= value <= node.total_kib:
                    self._refuse(what, value, node.total_kib)

    def limited_by(self, driver: MemoryStats) -> FreeMemory:
        """Return these figures, none above those of the balloon driver.

        Both read the same figures of one kernel. Where they differ, the
        guest was busy in between or one of them is wrong: the smaller one
        counts. Where the driver does not report what is available, as those
        before Linux 4.6, only what it reports as free can be watched during a
        release: no more than that is available.

        :param driver: statistics of the balloon driver, not older than the
                       request
        :returns: the smaller of both, for each figure
        :raises SourceUnavailable: the totals differ, so that they cannot be
                                   of the same guest
        """
        if driver.total_kib is not None and (
            abs(self.total_kib - driver.total_kib)
            > SAME_TOTAL_SHARE * driver.total_kib
        ):
            raise exceptions.SourceUnavailable(
                source=self.source,
                problem=f'the guest reports a total of {self.total_kib:.6g} '
                f'KiB, and its balloon driver {driver.total_kib:.6g} KiB',
            )
        free_kib = _smaller(self.free_kib, driver.free_kib)
        available_kib = self.available_kib
        if driver.available_kib is None and driver.free_kib is not None:
            available_kib = free_kib
        elif available_kib is not None:
            available_kib = _smaller(available_kib, driver.available_kib)
        return dataclasses.replace(
            self, free_kib=free_kib, available_kib=available_kib
        )

    def _refuse(self, what: str, value_kib: int, limit_kib: int) -> None:
        value_kib = min(
            validation.LARGEST, max(-validation.LARGEST, value_kib)
        )
        raise exceptions.SourceUnavailable(
            source=self.source,
            problem=f'the guest reports {what} of {value_kib:.6g} KiB '
            f'where at most {limit_kib} KiB is possible',
        )


def _smaller(reported_kib: int, driver_kib: int | None) -> int:
    if driver_kib is None:
        return reported_kib
    return min(reported_kib, driver_kib)

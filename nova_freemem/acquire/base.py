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

"""What a guest says of its memory, and who can be asked for it."""

from __future__ import annotations

import abc
from collections.abc import Iterable
import dataclasses

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.virt import guest as guests
from nova_freemem.virt import validation
from nova_freemem.virt.memory_stats import MemoryStats

# The kernel's own count: agent and driver read the same one, which moves
# where memory is plugged in or the balloon moves between the two.
SAME_TOTAL_SHARE = 0.01


@dataclasses.dataclass(frozen=True)
class FreeMemory:
    """What the guest said, once, when it was asked.

    Whatever it did not say is None: absent is not zero.

    :ivar source: name of the source that was asked
    :ivar total_kib: memory the guest's kernel manages
    :ivar free_kib: memory used for nothing at all
    :ivar available_kib: memory it could give without swapping
    :ivar page_cache_kib: page cache, shared memory included
    :ivar inactive_file_kib: page cache that the guest's own LRU calls cold
    :ivar unwritten_kib: page cache that is dirty or being written back
    :ivar swap_free_kib: swap it has left
    :ivar memory_pressure_share: of the last ten seconds, in which all its tasks stood
                         still for want of memory (PSI, "full", avg10)
    :ivar free_blocks: free memory by block size: pairs of a size in KiB and
                       the number of free blocks of that size
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

    @property
    def cold_cache_kib(self) -> int:
        """Clean page cache that the guest has not looked at twice.

        0 where the guest tells too little to know: not known to be cold.
        """
        if self.inactive_file_kib is None or self.unwritten_kib is None:
            return 0
        return max(0, self.inactive_file_kib - self.unwritten_kib)

    def check(self, maximum_kib: int) -> None:
        """Refuse figures that cannot be.

        :param maximum_kib: the memory the host gave the domain
        :raises NoAnswer: a figure is below zero or above what the guest has
        """
        if not 0 < self.total_kib <= maximum_kib:
            self._refuse('a total', self.total_kib, maximum_kib)
        for name in (
            'free_kib',
            'available_kib',
            'page_cache_kib',
            'inactive_file_kib',
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

    def beside(self, driver: MemoryStats) -> FreeMemory:
        """Hold it against what the balloon driver told a moment before.

        Both read the same figures of one kernel. Where they differ, the
        guest was at work meanwhile or one of them is wrong: the smaller is
        believed.

        :param driver: statistics not older than the question
        :returns: what both can agree to
        :raises NoAnswer: they cannot be of the same guest
        """
        if driver.total_kib is not None and (
            abs(self.total_kib - driver.total_kib)
            > SAME_TOTAL_SHARE * driver.total_kib
        ):
            raise exceptions.SourceUnavailable(
                source=self.source,
                problem=f'the guest locks a total of {self.total_kib:.6g} '
                f'KiB and its balloon driver one of '
                f'{driver.total_kib:.6g} KiB',
            )
        return dataclasses.replace(
            self,
            free_kib=_smaller(self.free_kib, driver.free_kib),
            available_kib=None
            if self.available_kib is None
            else _smaller(self.available_kib, driver.available_kib),
        )

    def _refuse(self, what: str, value_kib: int, limit_kib: int) -> None:
        value_kib = min(
            validation.LARGEST, max(-validation.LARGEST, value_kib)
        )
        raise exceptions.SourceUnavailable(
            source=self.source,
            problem=f'the guest locks {what} of {value_kib:.6g} KiB '
            f'where at most {limit_kib} KiB can be',
        )


def _smaller(claimed_kib: int, driver_kib: int | None) -> int:
    return claimed_kib if driver_kib is None else min(claimed_kib, driver_kib)


class Source(abc.ABC):
    """Someone who can tell what a guest has free."""

    def __init__(self, name: str, timeout_seconds: int) -> None:
        """Take a name and a patience.

        :param name: the extension's name, for log lines
        :param timeout_seconds: the longest wait for one answer
        """
        self.name = name
        self.timeout_seconds = timeout_seconds

    @abc.abstractmethod
    def acquire(
        self,
        domain: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> FreeMemory:
        """Ask once.

        What comes back is bounded and typed, but not yet held against the
        guest's size.

        :param domain: the guest
        :param clock: for waits
        :param deadline: when to give up
        :returns: what the guest said
        :raises FreememError: it said nothing, or nothing of use
        """


def acquire_from(
    sources: Iterable[Source],
    domain: guests.Guest,
    maximum_kib: int,
    driver: MemoryStats,
    clock: clocks.Clock,
    deadline: clocks.Deadline,
) -> FreeMemory:
    """Ask one source after the other until one answers.

    :param sources: in the order of preference
    :param domain: the guest
    :param maximum_kib: the memory the host gave the domain
    :param driver: what its balloon driver told a moment before
    :param clock: for waits
    :param deadline: when to give up on all of them
    :returns: the first answer that can be
    :raises NoAnswer: none answered; the message says why, for each
    """
    problems = []
    for source in sources:
        if deadline.passed():
            problems.append(f'{source.name}: no time left to ask')
            continue
        try:
            memory = source.acquire(domain, clock, deadline)
            memory.check(maximum_kib)
            memory = memory.beside(driver)
            if deadline.passed():
                raise exceptions.SourceUnavailable(
                    source=source.name, problem='it answered too late'
                )
        except exceptions.SourceUnavailable as fault:
            problems.append(str(fault))
        except exceptions.LibvirtError as fault:
            problems.append(f'{source.name}: {fault}')
        else:
            return memory
    raise exceptions.SourceUnavailable(
        source='no source answered',
        problem='; '.join(problems) or 'none is set',
    )

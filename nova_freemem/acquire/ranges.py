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

"""The addresses of a guest's free memory: for inspection and for tests.

A release needs amounts only; the guest's allocator chooses the pages that
the balloon gets. Which pages are free is in ``/proc/kpageflags`` of the
guest: one word of 8 bytes for each page from physical address 0 on, holes
included (Documentation/admin-guide/mm/pagemap.rst).

Since Linux 4.6 each page of a free block is marked as free; earlier kernels
mark the first page only and do not say how long a block is. Those are
recognized by their lists of free blocks, and refused.

The cost for a guest of 4 GiB (8 MiB of words, and 2 MiB more for the hole
below 4 GiB): ten answers of 1.4 million characters each, and ten short ones.
The result holds the time it took.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import itertools
import re
import struct

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire import meminfo
from nova_freemem.virt import guest as guests

KPAGEFLAGS = '/proc/kpageflags'
WORD_BYTES = 8

# Bits of a word (include/uapi/linux/kernel-page-flags.h). Pages in the balloon
# have OFFLINE (the same bit was called BALLOON until Linux 5.0), and so do
# pages that virtio-mem has unplugged.
BUDDY = 10
NOPAGE = 20
OFFLINE = 23

# libvirt passes on answers of up to 4 MiB, and disconnects from an agent that
# sends 10 MiB in one (REMOTE_STRING_MAX, QEMU_AGENT_MAX_RESPONSE).
CHUNK_BYTES = 1024 * 1024

# A guest's memory need not be contiguous, nor start at 0: x86 has a hole below
# 4 GiB, ARM has one of 1 GiB at the start, and there is room before memory
# that is plugged in. (A guest of about 1 TiB on an AMD processor has most of
# its memory above a hole of that size. It is refused: its words would be
# 4 GiB.)
HOLES_KIB = 8 * 1024 * 1024

# Every second page of a guest of 4 GiB, and about 60 MiB of our own memory.
MOST_RANGES = 512 * 1024

AUXV = '/proc/self/auxv'
_AT_PAGESZ = 6
_PAGE_SIZES_BYTES = (4096, 16384, 65536)

#: Pairs of a guest-physical address and a size in KiB, sorted; ranges that
#: adjoin are merged.
Ranges = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class PageRanges:
    """Which pages of a guest were free, and which were in its balloon.

    The guest kept running meanwhile. A page may have been used or freed a
    moment after its word was read.

    :ivar free: ranges on the kernel's lists of free blocks
    :ivar ballooned: ranges in the balloon, or unplugged by virtio-mem
    :ivar page_kib: size of a page
    :ivar listed_before_kib: memory on the lists before the words were read
    :ivar listed_after_kib: memory on the lists afterwards
    :ivar seconds: how long reading took
    """

    free: Ranges
    ballooned: Ranges
    page_kib: int
    listed_before_kib: int
    listed_after_kib: int
    seconds: float

    @property
    def free_kib(self) -> int:
        """Memory in the free ranges."""
        return _total_kib(self.free)

    @property
    def ballooned_kib(self) -> int:
        """Memory in the ranges of the balloon."""
        return _total_kib(self.ballooned)

    @property
    def drift_kib(self) -> int:
        """Difference of the figures before, meanwhile and afterwards.

        This is a lower bound of what changed while the words were read:
        memory that was used and freed again in that time does not show.
        """
        figures = (
            self.listed_before_kib,
            self.free_kib,
            self.listed_after_kib,
        )
        return max(figures) - min(figures)


class PageFlags:
    """The bytes of ``/proc/kpageflags`` that hold the flags used here.

    Two bytes of each word are kept: 1 MiB for a guest of 2 GiB.
    """

    def __init__(self) -> None:
        """Initialize the flags, with no page yet."""
        self._columns = {bit // 8: bytearray() for bit in (BUDDY, NOPAGE)}

    def add(self, words: bytes) -> None:
        """Append the words of the next pages.

        :param words: little-endian
        """
        for byte, column in self._columns.items():
            column += words[byte::WORD_BYTES]

    def ranges(self, bit: int, page_kib: int) -> Ranges:
        """Return the ranges of pages that have a flag.

        :param bit: BUDDY, NOPAGE or OFFLINE
        :param page_kib: size of a page
        :returns: the ranges, at most MOST_RANGES + 1
        """
        marked = bytes(value for value in range(256) if value >> bit % 8 & 1)
        found = re.finditer(
            b'[' + re.escape(marked) + b']+', self._columns[bit // 8]
        )
        return tuple(
            (
                run.start() * page_kib * 1024,
                (run.end() - run.start()) * page_kib,
            )
            for run in itertools.islice(found, MOST_RANGES + 1)
        )

    def __len__(self) -> int:
        """Return the number of pages."""
        return len(self._columns[BUDDY // 8])


class _Request:
    """One conversation with the agent of one guest."""

    def __init__(
        self,
        source: guest_agent.GuestAgent,
        guest: guests.Guest,
        maximum_kib: int,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> None:
        self._name = source.name
        self._maximum_kib = maximum_kib
        self._agent = guest_agent.Conversation(
            source.name,
            source.timeout_seconds,
            guest,
            clock,
            deadline,
            longest_bytes=CHUNK_BYTES,
        )

    def listed_and_total_kib(self, page_kib: int) -> tuple[int, int]:
        memory = meminfo.read_tables(self._name, self._agent.tables())
        memory.check(self._maximum_kib)
        if memory.free_blocks is None:
            raise self._unusable('the guest does not report its free blocks')
        listed_kib = sum(kib * count for kib, count in memory.free_blocks)
        return (
            listed_kib * page_kib // meminfo.PAGE_KIB,
            memory.total_kib,
        )

    def page_kib(self) -> int:
        """Read the page size from the auxiliary vector of a process."""
        try:
            vector = self._agent.read_file(AUXV)
        except exceptions.AgentCommandRefused:
            vector = self._agent.run('cat', AUXV)
        whole = len(vector) - len(vector) % 16
        for key, value in struct.iter_unpack('<QQ', vector[:whole]):
            if key == _AT_PAGESZ and value in _PAGE_SIZES_BYTES:
                return int(value) // 1024
        raise self._unusable('the guest does not report its page size')

    def flags(self, page_kib: int) -> PageFlags:
        most_pages = (self._maximum_kib + HOLES_KIB) // page_kib
        try:
            with self._agent.opened(KPAGEFLAGS) as handle:
                return self._collected(
                    most_pages,
                    lambda _chunk: self._agent.read(handle, CHUNK_BYTES),
                )
        except exceptions.AgentCommandRefused:
            return self._collected(most_pages, self._copied)

    def _copied(self, chunk: int) -> bytes:
        return self._agent.run(
            'dd',
            f'if={KPAGEFLAGS}',
            f'bs={CHUNK_BYTES}',
            f'skip={chunk}',
            'count=1',
            may_be_silent=True,
        )

    def _collected(
        self, most_pages: int, read: Callable[[int], bytes]
    ) -> PageFlags:
        flags = PageFlags()
        for chunk in itertools.count():
            words = read(chunk)
            if len(words) > CHUNK_BYTES or len(words) % WORD_BYTES:
                raise self._unusable(
                    f'the agent returned {len(words)} bytes of {KPAGEFLAGS}, '
                    f'which are not up to {CHUNK_BYTES} in whole words'
                )
            flags.add(words)
            if len(flags) > most_pages:
                raise self._unusable(
                    'the guest reports more pages than it has addresses for'
                )
            if len(words) < CHUNK_BYTES:
                break
        return flags

    def check(
        self, flags: PageFlags, total_kib: int, answer: PageRanges
    ) -> None:
        """Raise SourceUnavailable if an answer is impossible or incomplete."""
        if max(len(answer.free), len(answer.ballooned)) > MOST_RANGES:
            raise self._unusable(f'more than {MOST_RANGES} ranges')
        if answer.free_kib + answer.ballooned_kib > self._maximum_kib:
            raise self._unusable(
                'the guest reports more free pages than it has'
            )
        holes_kib = _total_kib(flags.ranges(NOPAGE, answer.page_kib))
        if len(flags) * answer.page_kib - holes_kib < total_kib:
            raise self._unusable(f'{KPAGEFLAGS} ends too early')
        listed_kib = min(answer.listed_before_kib, answer.listed_after_kib)
        if answer.free_kib < listed_kib // 2:
            raise self._unusable(
                f'the flags show {answer.free_kib} KiB free where the lists '
                f'have {listed_kib} KiB: a kernel before 4.6, which marks '
                'only the first page of a block, or a guest too busy'
            )

    def _unusable(self, problem: str) -> exceptions.SourceUnavailable:
        return exceptions.SourceUnavailable(source=self._name, problem=problem)


def acquire(
    source: guest_agent.GuestAgent,
    guest: guests.Guest,
    maximum_kib: int,
    clock: clocks.Clock,
    deadline: clocks.Deadline,
) -> PageRanges:
    """Ask the agent of a guest for the addresses of its free memory.

    :param source: its name and timeout are used
    :param guest: the guest
    :param maximum_kib: the memory the host gave the domain
    :param clock: for waits
    :param deadline: when to stop asking
    :returns: the ranges, checked against the guest's size
    :raises FreememError: the answer is missing or unusable
    """
    began_at = clock.now()
    request = _Request(source, guest, maximum_kib, clock, deadline)
    page_kib = request.page_kib()
    before_kib, total_kib = request.listed_and_total_kib(page_kib)
    flags = request.flags(page_kib)
    after_kib, _total = request.listed_and_total_kib(page_kib)
    answer = PageRanges(
        free=flags.ranges(BUDDY, page_kib),
        ballooned=flags.ranges(OFFLINE, page_kib),
        page_kib=page_kib,
        listed_before_kib=before_kib,
        listed_after_kib=after_kib,
        seconds=clock.now() - began_at,
    )
    request.check(flags, total_kib, answer)
    return answer


def _total_kib(ranges: Ranges) -> int:
    return sum(kib for _address, kib in ranges)

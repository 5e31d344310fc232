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

"""Where exactly a guest's free memory is: for inspection and for tests.

A release needs amounts alone; the balloon takes what the guest's allocator
gives it. Where that is, the guest's kernel tells in ``/proc/kpageflags``,
one word of 8 bytes for each page from physical address 0 on, holes included
(Documentation/admin-guide/mm/pagemap.rst).

Since Linux 4.6 each page of a free block is marked as free; earlier kernels
mark the first page alone and do not tell how long a block is. These are
recognised, by what their lists of free blocks hold, and refused.

What it costs, for a guest of 4 GiB (8 MiB of words, and 2 MiB more for the
hole below 4 GiB): ten answers of 1.4 million characters each, and ten short
ones. How long that takes is in the result.
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
from nova_freemem.virt import guest as guests

KPAGEFLAGS = '/proc/kpageflags'
WORD_BYTES = 8

# Bits of a word (include/uapi/linux/kernel-page-flags.h). The balloon's pages
# have OFFLINE (until Linux 5.0 the same bit, by the name of BALLOON), and so
# has what virtio-mem has unplugged.
BUDDY = 10
NOPAGE = 20
OFFLINE = 23

# libvirt carries answers of 4 MiB at most, and gives up on an agent that
# sends 10 MiB in one (REMOTE_STRING_MAX, QEMU_AGENT_MAX_RESPONSE).
CHUNK_BYTES = 1024 * 1024

# A guest's memory need not be in one piece, nor begin at 0: on x86 there is a
# hole below 4 GiB, on ARM one of 1 GiB in front of it all, and room before
# what is plugged in. (Of some 1 TiB with an AMD processor, most of it is above
# a hole of that size. Such a guest is refused; its words would be 4 GiB.)
HOLES_KIB = 8 * 1024 * 1024

# Every second page of a guest of 4 GiB, and some 60 MiB of our own memory.
MOST_RANGES = 512 * 1024

AUXV = '/proc/self/auxv'
_AT_PAGESZ = 6
_PAGE_SIZES_BYTES = (4096, 16384, 65536)

#: Pairs of a guest-physical address and a size in KiB, in order, each as long
#: as can be.
Ranges = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class PageRanges:
    """Which pages of a guest were free, and which its balloon had.

    The guest ran on while it was asked. A page can have been taken or freed
    a moment after it was looked at; what is here is no promise.

    :ivar free: ranges on the kernel's lists of free blocks
    :ivar ballooned: ranges that the balloon has, or virtio-mem
    :ivar page_kib: size of a page
    :ivar listed_before_kib: what was on the lists before all this was read
    :ivar listed_after_kib: what was on them afterwards
    :ivar seconds: how long it took to ask
    """

    free: Ranges
    ballooned: Ranges
    page_kib: int
    listed_before_kib: int
    listed_after_kib: int
    seconds: float

    @property
    def free_kib(self) -> int:
        """What is in the free ranges."""
        return _total_kib(self.free)

    @property
    def ballooned_kib(self) -> int:
        """What is in the balloon's ranges."""
        return _total_kib(self.ballooned)

    @property
    def drift_kib(self) -> int:
        """By how much the figures before, meanwhile and afterwards differ.

        The least that moved while the guest was asked: what was taken and
        freed again in that time does not show.
        """
        figures = (
            self.listed_before_kib,
            self.free_kib,
            self.listed_after_kib,
        )
        return max(figures) - min(figures)


class PageFlags:
    """The words of ``/proc/kpageflags``, as far as they are of use.

    Of each word the two bytes are kept that the flags are in: 1 MiB for a
    guest of 2 GiB.
    """

    def __init__(self) -> None:
        """Begin at physical address 0."""
        self._columns = {bit // 8: bytearray() for bit in (BUDDY, NOPAGE)}

    def add(self, words: bytes) -> None:
        """Go on.

        :param words: of the next pages, little-endian
        """
        for byte, column in self._columns.items():
            column += words[byte::WORD_BYTES]

    def ranges(self, bit: int, page_kib: int) -> Ranges:
        """Find the pages that have a flag.

        :param bit: BUDDY, NOPAGE or OFFLINE
        :param page_kib: size of a page
        :returns: where they are, MOST_RANGES + 1 at most
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
        """Tell for how many pages there are words."""
        return len(self._columns[BUDDY // 8])


class _Asked:
    """One conversation with the agent of one guest."""

    def __init__(
        self,
        source: guest_agent.GuestAgent,
        domain: guests.Guest,
        maximum_kib: int,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> None:
        self._name = source.name
        self._maximum_kib = maximum_kib
        self._agent = guest_agent.Conversation(
            source.name,
            source.timeout_seconds,
            domain,
            clock,
            deadline,
            longest_bytes=CHUNK_BYTES,
        )

    def listed_and_total_kib(self, page_kib: int) -> tuple[int, int]:
        memory = guest_agent.read_tables(self._name, self._agent.tables())
        memory.check(self._maximum_kib)
        if memory.free_blocks is None:
            raise self._nonsense('the guest does not list its free blocks')
        listed_kib = sum(kib * count for kib, count in memory.free_blocks)
        return (
            listed_kib * page_kib // guest_agent.PAGE_KIB,
            memory.total_kib,
        )

    def page_kib(self) -> int:
        """Find the page size in what the kernel told a process."""
        try:
            vector = self._agent.read_file(AUXV)
        except exceptions.AgentCommandRefused:
            vector = self._agent.run('cat', AUXV)
        whole = len(vector) - len(vector) % 16
        for key, value in struct.iter_unpack('<QQ', vector[:whole]):
            if key == _AT_PAGESZ and value in _PAGE_SIZES_BYTES:
                return int(value) // 1024
        raise self._nonsense('the guest does not tell its page size')

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
                raise self._nonsense(
                    f'{len(words)} bytes of {KPAGEFLAGS} '
                    'came where others were asked for'
                )
            flags.add(words)
            if len(flags) > most_pages:
                raise self._nonsense(
                    'the guest locks more pages than there are addresses for'
                )
            if len(words) < CHUNK_BYTES:
                break
        return flags

    def judge(
        self, flags: PageFlags, total_kib: int, answer: PageRanges
    ) -> None:
        """Refuse what cannot be, and what tells less than the truth."""
        if max(len(answer.free), len(answer.ballooned)) > MOST_RANGES:
            raise self._nonsense(f'more than {MOST_RANGES} ranges')
        if answer.free_kib + answer.ballooned_kib > self._maximum_kib:
            raise self._nonsense('the guest locks more free pages than it has')
        holes_kib = _total_kib(flags.ranges(NOPAGE, answer.page_kib))
        if len(flags) * answer.page_kib - holes_kib < total_kib:
            raise self._nonsense(f'{KPAGEFLAGS} ends too early')
        listed_kib = min(answer.listed_before_kib, answer.listed_after_kib)
        if answer.free_kib < listed_kib // 2:
            raise self._nonsense(
                f'the flags show {answer.free_kib} KiB free where the lists '
                f'have {listed_kib} KiB: a kernel before 4.6, which marks '
                'only the first page of a block, or a guest too busy'
            )

    def _nonsense(self, problem: str) -> exceptions.SourceUnavailable:
        return exceptions.SourceUnavailable(source=self._name, problem=problem)


def acquire(
    source: guest_agent.GuestAgent,
    domain: guests.Guest,
    maximum_kib: int,
    clock: clocks.Clock,
    deadline: clocks.Deadline,
) -> PageRanges:
    """Ask a guest where its free memory is.

    :param source: whose name and patience are used
    :param domain: the guest
    :param maximum_kib: the memory the host gave the domain
    :param clock: for waits
    :param deadline: when to give up
    :returns: what it said, plausible
    :raises FreememError: it said nothing, or nothing of use
    """
    began_at = clock.now()
    asked = _Asked(source, domain, maximum_kib, clock, deadline)
    page_kib = asked.page_kib()
    before_kib, total_kib = asked.listed_and_total_kib(page_kib)
    flags = asked.flags(page_kib)
    after_kib, _total = asked.listed_and_total_kib(page_kib)
    answer = PageRanges(
        free=flags.ranges(BUDDY, page_kib),
        ballooned=flags.ranges(OFFLINE, page_kib),
        page_kib=page_kib,
        listed_before_kib=before_kib,
        listed_after_kib=after_kib,
        seconds=clock.now() - began_at,
    )
    asked.judge(flags, total_kib, answer)
    return answer


def _total_kib(ranges: Ranges) -> int:
    return sum(kib for _address, kib in ranges)

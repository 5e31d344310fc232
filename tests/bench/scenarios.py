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

"""What a guest has done before it migrates, and what it does meanwhile.

Each is prepared in the same way for every method, in a guest just booted.
The standard library alone, as :mod:`tests.bench.matrix` needs it.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
import types
from typing import TYPE_CHECKING
from typing import ClassVar

if TYPE_CHECKING:
    from tests.lab.guest import Guest

#: The file of cache-hot.
HOT_FILE = '/data/hot'

# What a full guest has left, MiB: less than the headroom of a guest of 4 GiB,
# and enough for the guest agent to answer.
_LEFT_MIB = 190

# Free blocks of 252 KiB: much less than the 2 MiB that free page reporting
# works on, and nearly all of the memory is free.
_FREED_PIECE_KIB, _KEPT_PIECE_KIB = 252, 4


class Scenario(abc.ABC):
    """What a guest does.

    :cvar name: its word on the command line.
    :cvar about: what it is, for people.
    :cvar prepare_seconds: what the preparation of 4 GiB takes, for estimates.
    :cvar resident_share: of the guest's memory, what is resident afterwards.
    :cvar releasable_share: of the guest's memory, what can be released.
    :cvar reportable_share: of the guest's memory, what free page reporting
        returns to the host.
    :cvar kept_share: of the guest's memory, what it keeps in use besides what
        every guest does.
    :cvar cold_share: of the guest's memory, what is page cache that can be
        dropped.
    :cvar rewritten_mb_per_second: how much of its memory it writes to, 10^6
        bytes a second.
    :cvar grows: whether it takes more memory from the start of its migration.
    :cvar hot_file: the file whose reading is the guest's work; None where its
        work is to go over memory now and then.
    :cvar after_seconds: for how long it is watched after the landing.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    prepare_seconds: ClassVar[float]
    resident_share: ClassVar[float]
    releasable_share: ClassVar[float] = 0.0
    reportable_share: ClassVar[float] = 0.0
    kept_share: ClassVar[float] = 0.0
    cold_share: ClassVar[float] = 0.0
    rewritten_mb_per_second: ClassVar[float] = 0.0
    grows: ClassVar[bool] = False
    hot_file: ClassVar[str | None] = None
    after_seconds: ClassVar[float] = 6.0

    @abc.abstractmethod
    def prepare(self, guest: Guest, memory_mib: int) -> None:
        """Have a guest that has just booted do what it is to have done."""

    def hold(self, guest: Guest, memory_mib: int) -> None:
        """Have it hold memory that shows whether a migration corrupts it.

        Little, rewritten slowly: enough to notice.
        """
        guest.hold(32, pages_per_second=100)

    def sent_share(self, is_reported: bool, is_released: bool) -> float:
        """Estimate what is sent, as a share of the guest's memory.

        :param is_reported: whether free blocks of some MiB are not sent.
        :param is_released: whether nothing is sent that can be released.
        """
        gone_share = self.reportable_share if is_reported else 0.0
        if is_released:
            gone_share = max(gone_share, self.releasable_share)
        return self.resident_share - gone_share


class Fresh(Scenario):
    """A guest that has just booted."""

    name = 'fresh'
    about = 'just booted'
    prepare_seconds = 0
    resident_share = 0.1

    def prepare(self, guest: Guest, memory_mib: int) -> None:
        """Do nothing."""


class Freed(Scenario):
    """Most of memory written to, and freed at once."""

    name = 'freed'
    about = 'wrote to 75 % of its memory, and freed it'
    prepare_seconds = 6
    resident_share = 0.85
    releasable_share = reportable_share = 0.75

    def prepare(self, guest: Guest, memory_mib: int) -> None:
        """Have memory written to and freed."""
        guest.fill_dirty(memory_mib * 3 // 4)


class Fragmented(Scenario):
    """Most of memory written to, and freed in small pieces."""

    name = 'fragmented'
    about = 'wrote to 75 % of its memory, and freed it in pieces of 252 KiB'
    prepare_seconds = 8
    resident_share = 0.85
    releasable_share = 0.74
    kept_share = 0.75 * _KEPT_PIECE_KIB / (_FREED_PIECE_KIB + _KEPT_PIECE_KIB)

    def prepare(self, guest: Guest, memory_mib: int) -> None:
        """Have memory written to and freed in pieces, with pages between."""
        guest.fill_fragmented(
            memory_mib * 3 // 4, _FREED_PIECE_KIB, _KEPT_PIECE_KIB
        )


class CacheCold(Scenario):
    """Most of memory is page cache that was used once."""

    name = 'cache-cold'
    about = 'read a file of 75 % of its memory once'
    prepare_seconds = 25
    resident_share = 0.85
    releasable_share = 0.7
    cold_share = 0.75

    def prepare(self, guest: Guest, memory_mib: int) -> None:
        """Have a file read, which was written and dropped before."""
        guest.fill_cache(memory_mib * 3 // 4)


class CacheHot(Scenario):
    """A quarter of memory is page cache in constant use.

    Half of its memory has been written to and freed before, so that there is
    something to release: otherwise the release would be skipped.
    """

    name = 'cache-hot'
    about = (
        'reads a file of a quarter of its memory over and over,'
        ' after it wrote to half of its memory and freed it'
    )
    prepare_seconds = 14
    resident_share = 0.85
    releasable_share = reportable_share = 0.45
    kept_share = 0.25
    hot_file = HOT_FILE
    after_seconds = 32.0

    def prepare(self, guest: Guest, memory_mib: int) -> None:
        """Have the file written and read; the guest's work is to go on."""
        guest.fill_dirty(memory_mib // 2)
        guest.do('writefile', HOT_FILE, str(memory_mib // 4), seconds=300)
        # Twice: what is read once is not hot, and reading it costs more.
        guest.do('sh', '-c', f'cat {HOT_FILE} {HOT_FILE} > /dev/null')


class Full(Scenario):
    """A guest that uses its memory: nothing to release."""

    name = 'full'
    about = 'keeps all its memory but what it needs to answer'
    prepare_seconds = 7
    resident_share = 0.97
    kept_share = 0.875

    def prepare(self, guest: Guest, memory_mib: int) -> None:
        """Have all but a little of the memory written to and kept."""
        available_mib = guest.meminfo()['MemAvailable'] >> 10
        guest.fill_dirty(available_mib - _LEFT_MIB, free=False)


class Busy(Scenario):
    """A guest that rewrites memory while it migrates.

    An eighth of its memory is rewritten in random order, at a third of 1 Gb/s;
    half of its memory has been written to and freed.
    """

    name = 'busy'
    about = (
        'rewrites up to 40 MB a second of an eighth of its memory,'
        ' after it wrote to half of its memory and freed it'
    )
    prepare_seconds = 8
    resident_share = 0.95
    releasable_share = reportable_share = 0.45
    kept_share = 0.25
    rewritten_mb_per_second = 40.0

    def prepare(self, guest: Guest, memory_mib: int) -> None:
        """Have memory written to and freed, before the rest is held."""
        guest.fill_dirty(memory_mib // 2)

    def hold(self, guest: Guest, memory_mib: int) -> None:
        """Have a quarter held, one half of which is rewritten."""
        pages_per_second = int(self.rewritten_mb_per_second * 1e6 / 4096)
        guest.hold(memory_mib // 4, pages_per_second)


class BusyFast(Busy):
    """A guest that rewrites memory faster than 1 Gb/s carries it."""

    name = 'busy-fast'
    about = (
        'rewrites up to 160 MB a second of an eighth of its memory,'
        ' after it wrote to half of its memory and freed it'
    )
    rewritten_mb_per_second = 160.0


class Growing(Freed):
    """A guest that takes memory while it migrates which was free until then.

    More than it has at hand where somebody has taken most of it.
    """

    grows = True
    name = 'growing'
    about = (
        'takes a quarter of its memory, 100 MiB a second, from the start of'
        ' its migration, after it wrote to 75 % of its memory and freed it'
    )

    def hold(self, guest: Guest, memory_mib: int) -> None:
        """Have little held that can become a quarter."""
        guest.hold(32, pages_per_second=100, grown_mib=memory_mib // 4)


#: Each scenario by its name.
SCENARIOS: Mapping[str, Scenario] = types.MappingProxyType(
    {
        one.name: one
        for one in (
            Fresh(),
            Freed(),
            Fragmented(),
            CacheCold(),
            CacheHot(),
            Full(),
            Busy(),
            BusyFast(),
            Growing(),
        )
    }
)

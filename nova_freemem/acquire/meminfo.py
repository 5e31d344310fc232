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

"""Parsing of the memory tables of a guest's kernel; pure functions.

The tables are ``/proc/meminfo``, ``/proc/buddyinfo`` and, where the kernel
has them, ``/proc/pressure/memory``, ``/proc/version``,
``/proc/sys/vm/overcommit_memory`` and ``/sys/kernel/mm/lru_gen/enabled``; of a
guest with several NUMA nodes ``/sys/devices/system/node/node*/meminfo`` as
well. They come without their names, but no line of one looks like a line of
another.
"""

from __future__ import annotations

from collections.abc import Mapping
import re

from nova_freemem import exceptions
from nova_freemem.acquire.free_memory import CacheCounts
from nova_freemem.acquire.free_memory import CommitLimit
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.acquire.free_memory import NodeMemory

_MEMINFO_LINE = re.compile(
    r'^(\w+(?:\(\w+\))?):\s+(\d{1,15}) kB$', re.ASCII | re.MULTILINE
)
_NODE_LINE = re.compile(
    r'^Node (\d{1,5}) (\w+(?:\(\w+\))?):\s+(\d{1,15}) kB$',
    re.ASCII | re.MULTILINE,
)
_BUDDYINFO_LINE = re.compile(
    r'^Node\s+\d{1,5}, zone\s+\w{1,16}((?:\s+\d{1,12}){1,32})\s*$',
    re.ASCII | re.MULTILINE,
)
_PRESSURE_LINE = re.compile(
    r'^full avg10=(\d{1,3}\.\d{1,2}) ', re.ASCII | re.MULTILINE
)

_VERSION_LINE = re.compile(
    r'^Linux version (\d{1,4})\.(\d{1,4})[^\d]', re.ASCII | re.MULTILINE
)
# Refaults of page cache; before Linux 5.9 under the shorter name.
_REFAULT_LINE = re.compile(
    r'^workingset_refault(?:_file)? (\d{1,18})$', re.ASCII | re.MULTILINE
)
# Page cache that is held, and memory that was dropped for want of it in the
# whole guest: shrink_inactive_list() in mm/vmscan.c counts nothing here that a
# cgroup drops at its limit, or is asked to drop. Before Linux 4.8 by zone.
_HELD_LINE = re.compile(
    r'^(nr_active_file|nr_inactive_file|pgsteal_(?:kswapd|direct|khugepaged))'
    r'(?:_[a-z]\w{1,9})? (\d{1,18})$',
    re.ASCII | re.MULTILINE,
)
_HELD = {
    'nr_active_file',
    'nr_inactive_file',
    'pgsteal_kswapd',
    'pgsteal_direct',
}
_OVERCOMMIT_LINE = re.compile(r'^(\d)$', re.ASCII | re.MULTILINE)
_LRU_GEN_LINE = re.compile(r'^0x([0-9a-f]{4})$', re.ASCII | re.MULTILINE)

_NODE_FIGURES = {
    'MemTotal',
    'MemFree',
    'Active(file)',
    'Inactive(file)',
    'Dirty',
    'Writeback',
}

# vm.overcommit_memory (Documentation/mm/overcommit-accounting.rst).
_NEVER_OVERCOMMIT = '2'

# The main switch (Documentation/admin-guide/mm/multigen_lru.rst).
_LRU_GEN_ON = 0x0001

# The first kernel that has the multi-generational LRU. Distributions added it
# to earlier ones, with the same switch.
_LRU_GEN_SINCE = (6, 1)

# The first kernel whose MemTotal does not shrink with a balloon that has
# autodeflate (997e120843e8, "virtio_balloon: do not change memory amount
# visible via /proc/meminfo"). Drivers before 4.0 do not know the feature.
_TOTAL_STAYS_SINCE = (4, 3)

# /proc/buddyinfo counts blocks in pages and does not say how large a page
# is. Linux on x86 has pages of 4 KiB and nothing else; a guest with larger
# ones shows more free than it has by these blocks, which check() refuses or
# which is an underestimate, and the amounts come from /proc/meminfo anyway.
PAGE_KIB = 4


def _text(tables: bytes) -> str:
    return tables.decode('ascii', errors='replace')


def _amounts_kib(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in _MEMINFO_LINE.findall(text)}


def inactive_file_kib(source: str, table: bytes) -> int:
    """Parse how much page cache the guest's kernel calls inactive.

    :param source: name of the source, for the error
    :param table: ``/proc/meminfo``
    :returns: KiB
    :raises SourceUnavailable: it is not in the table
    """
    found_kib = _amounts_kib(_text(table)).get('Inactive(file)')
    if found_kib is None:
        raise exceptions.SourceUnavailable(
            source=source,
            problem='the answer of the agent lacks Inactive(file)',
        )
    return found_kib


def cache_counts(table: bytes) -> CacheCounts | None:
    """Parse what the guest's kernel has counted of its page cache.

    It counts each page that is read not long after it was dropped, a refault
    (mm/workingset.c).

    :param table: ``/proc/vmstat``
    :returns: the counts, None where it does not count refaults
    """
    text = _text(table)
    refaults = _REFAULT_LINE.search(text)
    if refaults is None:
        return None
    held = _HELD_LINE.findall(text)
    held_kib = None
    if {name for name, _pages in held} >= _HELD:
        held_kib = PAGE_KIB * sum(int(pages) for _name, pages in held)
    return CacheCounts(int(refaults[1]) * PAGE_KIB, held_kib)


def read_tables(source: str, tables: bytes) -> FreeMemory:
    """Parse what the guest printed.

    :param source: name of the source, for the answer and the error
    :param tables: the tables, one after the other
    :returns: their figures
    :raises SourceUnavailable: the total or the free memory is not in them
    """
    text = _text(tables)
    kib = _amounts_kib(text)
    if 'MemTotal' not in kib or 'MemFree' not in kib:
        raise exceptions.SourceUnavailable(
            source=source,
            problem='the answer of the agent lacks MemTotal or MemFree',
        )
    return FreeMemory(
        source=source,
        total_kib=kib['MemTotal'],
        free_kib=kib['MemFree'],
        available_kib=kib.get('MemAvailable'),
        page_cache_kib=kib.get('Cached'),
        inactive_file_kib=(
            kib.get('Inactive(file)') if _inactive_is_cold(text) else None
        ),
        active_file_kib=kib.get('Active(file)'),
        unwritten_kib=_sum(kib, 'Dirty', 'Writeback'),
        swap_free_kib=kib.get('SwapFree'),
        swap_total_kib=kib.get('SwapTotal'),
        memory_pressure_share=_memory_pressure_share(text),
        free_blocks=_free_blocks(text),
        commit=_commit_limit(text, kib),
        nodes=_nodes(text),
    )


def _sum(kib: Mapping[str, int], *names: str) -> int | None:
    if not all(name in kib for name in names):
        return None
    return sum(kib[name] for name in names)


def _inactive_is_cold(text: str) -> bool:
    """Return whether page cache that is called inactive is cold.

    The multi-generational LRU calls what was read by read(2) inactive, however
    often it was read, and sorts it only when it is about to be dropped: of
    400 MiB that had been read six times, it called all inactive.

    Where nothing is said, a kernel that may have it is taken to use it.
    """
    lru_gen = _LRU_GEN_LINE.search(text)
    if lru_gen:
        return not int(lru_gen[1], 16) & _LRU_GEN_ON
    version = _version(text)
    return version is not None and version < _LRU_GEN_SINCE


def _version(text: str) -> tuple[int, int] | None:
    version = _VERSION_LINE.search(text)
    return None if version is None else (int(version[1]), int(version[2]))


def _commit_limit(text: str, kib: Mapping[str, int]) -> CommitLimit | None:
    """Return the limit that the guest enforces, if it does.

    It is a share of MemTotal less huge pages, which is not told and follows
    from the limit, plus all swap (vm_commit_limit() in mm/util.c). Where
    vm.overcommit_kbytes sets it, it does not fall with MemTotal, which cannot
    be seen: less is released then than could be.
    """
    mode = _OVERCOMMIT_LINE.search(text)
    if mode is None or mode[1] != _NEVER_OVERCOMMIT:
        return None
    if 'CommitLimit' not in kib or 'Committed_AS' not in kib:
        return None
    of_kib = kib['MemTotal'] - kib.get('Hugetlb', 0)
    limit_kib = kib['CommitLimit']
    version = _version(text)
    return CommitLimit(
        limit_kib,
        kib['Committed_AS'],
        max(0, limit_kib - kib.get('SwapTotal', 0)) / max(1, of_kib),
        stays=version is not None and version >= _TOTAL_STAYS_SINCE,
    )


def _nodes(text: str) -> tuple[NodeMemory, ...]:
    """Return the nodes of which all is told, in the order of their numbers."""
    nodes: dict[int, dict[str, int]] = {}
    for number, name, value in _NODE_LINE.findall(text):
        nodes.setdefault(int(number), {})[name] = int(value)
    is_cold = _inactive_is_cold(text)
    return tuple(
        NodeMemory(
            kib['MemTotal'],
            kib['MemFree'],
            kib['Active(file)'] + kib['Inactive(file)'],
            kib['Inactive(file)'] if is_cold else None,
            kib['Dirty'] + kib['Writeback'],
        )
        for _number, kib in sorted(nodes.items())
        if kib.keys() >= _NODE_FIGURES
    )


def _memory_pressure_share(text: str) -> float | None:
    match = _PRESSURE_LINE.search(text)
    return float(match[1]) / 100 if match else None


def _free_blocks(text: str) -> tuple[tuple[int, int], ...] | None:
    zones = [
        [int(count) for count in counts.split()]
        for counts in _BUDDYINFO_LINE.findall(text)
    ]
    if not zones:
        return None
    orders = max(len(zone) for zone in zones)
    return tuple(
        (
            PAGE_KIB << order,
            sum(zone[order] for zone in zones if order < len(zone)),
        )
        for order in range(orders)
    )

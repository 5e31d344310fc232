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
has it, ``/proc/pressure/memory``.
"""

from __future__ import annotations

from collections.abc import Mapping
import re

from nova_freemem import exceptions
from nova_freemem.acquire.free_memory import FreeMemory

_MEMINFO_LINE = re.compile(
    r'^(\w+(?:\(\w+\))?):\s+(\d{1,15}) kB$', re.ASCII | re.MULTILINE
)
_BUDDYINFO_LINE = re.compile(
    r'^Node\s+\d{1,5}, zone\s+\w{1,16}((?:\s+\d{1,12}){1,32})\s*$',
    re.ASCII | re.MULTILINE,
)
_PRESSURE_LINE = re.compile(
    r'^full avg10=(\d{1,3}\.\d{1,2}) ', re.ASCII | re.MULTILINE
)

# /proc/buddyinfo counts blocks in pages and does not say how large a page
# is. Linux on x86 has pages of 4 KiB and nothing else; a guest with larger
# ones shows more free than it has by these blocks, which check() refuses or
# which is an underestimate, and the amounts come from /proc/meminfo anyway.
PAGE_KIB = 4


def read_tables(source: str, tables: bytes) -> FreeMemory:
    """Parse what the guest printed.

    :param source: name of the source, for the answer and the error
    :param tables: the tables, one after the other
    :returns: their figures
    :raises SourceUnavailable: the total or the free memory is not in them
    """
    text = tables.decode('ascii', errors='replace')
    kib = {name: int(value) for name, value in _MEMINFO_LINE.findall(text)}
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
        inactive_file_kib=kib.get('Inactive(file)'),
        unwritten_kib=_sum(kib, 'Dirty', 'Writeback'),
        swap_free_kib=kib.get('SwapFree'),
        memory_pressure_share=_memory_pressure_share(text),
        free_blocks=_free_blocks(text),
    )


def _sum(kib: Mapping[str, int], *names: str) -> int | None:
    if not all(name in kib for name in names):
        return None
    return sum(kib[name] for name in names)


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

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


"""The tables of the guest's kernel, in ``meminfo.read_tables``."""

from nova_freemem.acquire import meminfo
from nova_freemem.acquire.free_memory import FreeMemory
from tests.fuzz import oracle
from tests.simulation import fakes

MODULES = ('nova_freemem.acquire.meminfo', 'nova_freemem.acquire.free_memory')

MAXIMUM_KIB = 4 * fakes.GIB
_PRESSURE = (
    b'some avg10=0.00 avg60=0.12 avg300=0.00 total=4242\n'
    b'full avg10=0.00 avg60=0.00 avg300=0.00 total=17\n'
)


def captured() -> bytes:
    """:returns: the tables of a machine of 24 GiB."""
    return (
        b''.join(
            (fakes.CAPTURED / f'linux-6.18-x86_64.{name}').read_bytes()
            for name in ('meminfo', 'buddyinfo')
        )
        + _PRESSURE
    )


def seeds() -> list[bytes]:
    """:returns: captured tables, and those of a guest that is small enough."""
    small = (
        b'MemTotal:  4022020 kB\nMemFree:  3958252 kB\n'
        b'MemAvailable:  3842800 kB\nCached:  11476 kB\n'
        b'Inactive(file):  16 kB\nDirty:  0 kB\nWriteback:  0 kB\n'
        b'SwapFree:  0 kB\n'
    )
    nodes = (fakes.CAPTURED / 'constructed-two-nodes.buddyinfo').read_bytes()
    tables = [
        (fakes.CAPTURED / f'debian-12{kind}.tables').read_bytes()
        for kind in (
            '',
            '-strict',
            '-hot-cache-mglru',
            '-missing',
            '-two-nodes',
        )
    ]
    old = (fakes.CAPTURED / 'constructed-linux-2.6.32.meminfo').read_bytes()
    return [
        captured(),
        small + _PRESSURE,
        small + nodes,
        old,
        *tables,
        b'MemTotal: 1 kB\nMemFree: 1 kB\nNode 0, zone a' + b' 1' * 33,
    ]


def run(data: bytes) -> None:
    """Read what a guest printed.

    :param data: what it printed.
    """
    with oracle.only_own_errors():
        check(meminfo.read_tables('guest_agent', data))
    counts = meminfo.cache_counts(data)
    if counts is not None:
        assert counts.reread_kib >= 0 <= (counts.held_kib or 0)
        assert counts.missed_since(counts, 0) == 0


def check(memory: FreeMemory) -> None:
    """Assert that what is accepted is possible.

    :param memory: what was read.
    """
    memory.check(MAXIMUM_KIB)
    assert 0 < memory.total_kib <= MAXIMUM_KIB
    assert 0 <= memory.free_kib + memory.cold_cache_kib <= memory.total_kib
    assert memory.available_kib is None or (
        0 <= memory.available_kib <= memory.total_kib
    )
    assert len(memory.free_blocks or ()) <= 32
    assert sum(node.total_kib for node in memory.nodes) <= MAXIMUM_KIB
    for node in memory.nodes:
        assert 0 <= node.free_kib + node.cold_cache_kib <= node.total_kib
    if memory.commit is not None:
        assert memory.commit.left_kib >= 0 and memory.commit.share >= 0

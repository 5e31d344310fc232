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

"""The memory tables of a guest's kernel, honest ones and others."""

import time

import hypothesis
from hypothesis import strategies

from nova_freemem import exceptions
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire import meminfo
from nova_freemem.acquire.free_memory import FreeMemory
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB


def read(memory: str, blocks: str = '') -> FreeMemory:
    """Read captured tables."""
    return meminfo.read_tables(
        'agent',
        b''.join(
            (fakes.CAPTURED / name).read_bytes()
            for name in (memory, blocks)
            if name
        ),
    )


class CapturedTest(base.TestCase):
    def test_the_cache_of_a_machine_of_24_gib(self) -> None:
        memory = read('linux-6.18-x86_64.meminfo')
        self.assertLess(0, memory.cold_cache_kib)
        self.assertLessEqual(memory.cold_cache_kib, memory.page_cache_kib)

    def test_a_machine_of_24_gib(self) -> None:
        memory = read(
            'linux-6.18-x86_64.meminfo', 'linux-6.18-x86_64.buddyinfo'
        )
        self.assertEqual(24684092, memory.total_kib)
        memory.check(25 * GIB)
        self.assertEqual(
            [4 << order for order in range(11)],
            [size_kib for size_kib, _count in memory.free_blocks],
        )
        in_blocks_kib = sum(
            size_kib * count for size_kib, count in memory.free_blocks
        )
        # Not all that is free is in blocks that the kernel lists.
        self.assertEqual(10071736, in_blocks_kib)
        self.assertEqual(20638796, memory.free_kib)

    def test_blocks_of_all_nodes_and_zones_are_added_up(self) -> None:
        memory = read(
            'linux-6.18-x86_64.meminfo', 'constructed-two-nodes.buddyinfo'
        )
        self.assertEqual((4, 1 + 10 + 1 + 100), memory.free_blocks[0])
        self.assertEqual(
            (4096, 3 + 110 + 11 + 1100 + 2048), memory.free_blocks[-1]
        )

    def test_an_old_kernel_does_not_report_what_is_available(self) -> None:
        memory = read('constructed-linux-2.6.32.meminfo')
        self.assertEqual(
            FreeMemory(
                'agent',
                2055124,
                1203456,
                page_cache_kib=421020,
                unwritten_kib=56,
                swap_free_kib=2064376,
            ),
            memory,
        )


class HostileTest(base.TestCase):
    @hypothesis.given(strategies.binary(max_size=2000))
    def test_any_output_is_read_or_refused(self, tables: bytes) -> None:
        try:
            meminfo.read_tables('agent', tables)
        except exceptions.SourceUnavailable:
            return

    @hypothesis.given(
        strategies.text('MemTotalFr:kBNode0123456789,z \n\t', max_size=3000)
    )
    def test_almost_right_output_takes_no_time(self, text: str) -> None:
        started_at = time.process_time()
        try:
            meminfo.read_tables('agent', text.encode())
        except exceptions.SourceUnavailable:
            pass
        finally:
            self.assertLess(time.process_time() - started_at, 1)

    def test_the_longest_answer_takes_no_time(self) -> None:
        longest = 2 * guest_agent.LONGEST_TABLE_BYTES
        for text in (
            'Node 0, zone ' + 'a' * longest,
            'Node 0, zone a' + ' ' * longest,
            'Node 0, zone a' + ' 1' * longest,
            'Node' + '\t' * longest,
            'M' * longest,
            'MemTotal:' + ' ' * longest + '\n',
        ):
            started_at = time.process_time()
            self.assertRaises(
                exceptions.SourceUnavailable,
                meminfo.read_tables,
                'agent',
                text.encode()[:longest],
            )
            self.assertLess(time.process_time() - started_at, 1)

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
from nova_freemem.acquire.free_memory import CacheCounts
from nova_freemem.acquire.free_memory import CommitLimit
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.acquire.free_memory import NodeMemory
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


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
    def test_the_cache_of_a_debian(self) -> None:
        memory = read('debian-12.tables')
        self.assertEqual(18092 - 452, memory.cold_cache_kib)
        self.assertLessEqual(memory.cold_cache_kib, memory.page_cache_kib)

    def test_what_is_missing_is_absent_and_the_rest_is_read(self) -> None:
        memory = read('debian-12-missing.tables')
        self.assertEqual(996336, memory.total_kib)
        self.assertIsNone(memory.memory_pressure_share)
        self.assertIsNone(memory.free_blocks)
        self.assertIsNone(memory.commit)
        self.assertEqual((), memory.nodes)

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
                swap_total_kib=2064376,
            ),
            memory,
        )


class RereadTest(base.TestCase):
    def test_a_kernel_that_counts_anonymous_memory_apart(self) -> None:
        # Linux 6.18, some of the lines.
        table = (
            b'workingset_nodes 15159\n'
            b'workingset_refault_anon 7\n'
            b'workingset_refault_file 53124\n'
            b'workingset_activate_file 11619\n'
        )
        self.assertEqual(CacheCounts(212496), meminfo.cache_counts(table))

    def test_an_earlier_kernel_which_does_not(self) -> None:
        self.assertEqual(
            CacheCounts(8), meminfo.cache_counts(b'workingset_refault 2\n')
        )

    def test_what_a_cgroup_drops_at_its_limit_is_not_counted(self) -> None:
        # Linux 6.18, some of the lines: pgsteal_file has it as well.
        table = (
            b'nr_inactive_file 3000\n'
            b'nr_active_file 1000\n'
            b'nr_mapped 77\n'
            b'workingset_refault_file 5\n'
            b'pgsteal_kswapd 200\n'
            b'pgsteal_direct 30\n'
            b'pgsteal_khugepaged 7\n'
            b'pgsteal_proactive 8000\n'
            b'pgscan_direct_throttle 9\n'
            b'pgsteal_anon 12\n'
            b'pgsteal_file 8225\n'
        )
        self.assertEqual(
            CacheCounts(20, 4 * 4237), meminfo.cache_counts(table)
        )

    def test_linux_before_4_8_counts_by_zone(self) -> None:
        table = (
            b'nr_inactive_file 300\n'
            b'nr_active_file 100\n'
            b'workingset_refault 5\n'
            b'pgsteal_kswapd_dma 1\n'
            b'pgsteal_kswapd_dma32 20\n'
            b'pgsteal_kswapd_normal 300\n'
            b'pgsteal_direct_dma 0\n'
            b'pgsteal_direct_dma32 2\n'
            b'pgsteal_direct_normal 0\n'
        )
        self.assertEqual(CacheCounts(20, 4 * 723), meminfo.cache_counts(table))

    def test_what_is_held_is_known_as_a_whole_or_not(self) -> None:
        lines = (
            b'workingset_refault_file 5\n',
            b'nr_inactive_file 3000\n',
            b'nr_active_file 1000\n',
            b'pgsteal_kswapd 200\n',
            b'pgsteal_direct 30\n',
        )
        for missing in lines[1:]:
            table = b''.join(line for line in lines if line != missing)
            self.assertEqual(
                CacheCounts(20), meminfo.cache_counts(table), missing
            )

    def test_what_is_not_counted_is_absent_not_zero(self) -> None:
        for table in (
            b'',
            b'pgfault 1\n',
            b'workingset_refault_anon 2\n',
            b'workingset_refault_file\n',
            b'workingset_refault_file -1\n',
            b'workingset_refault_file ' + 19 * b'9' + b'\n',
            b'\xff\xfe',
        ):
            self.assertIsNone(meminfo.cache_counts(table), table)


class InactiveFileTest(base.TestCase):
    def test_it_is_read_from_the_table_alone(self) -> None:
        table = b'MemTotal: 4 kB\nInactive(anon): 1 kB\nInactive(file): 3 kB\n'
        self.assertEqual(3, meminfo.inactive_file_kib('x', table))

    def test_a_table_without_it_is_said_to_lack_it(self) -> None:
        for table in (b'', b'MemTotal: 4 kB\n', b'\xff\xfe', b'0x0000\n'):
            with self.assertRaisesRegex(
                exceptions.SourceUnavailable, 'lacks Inactive'
            ):
                meminfo.inactive_file_kib('x', table)


class LruTest(base.TestCase):
    """Whether page cache that the kernel calls inactive is cold."""

    INACTIVE = (
        b'MemTotal: 4022020 kB\nMemFree: 1958252 kB\n'
        b'Inactive(file): 900000 kB\nDirty: 0 kB\nWriteback: 0 kB\n'
    )

    def cold_kib(self, *lines: bytes) -> int:
        return meminfo.read_tables(
            'agent', self.INACTIVE + b''.join(lines)
        ).cold_cache_kib

    def test_cache_that_was_read_seven_times_is_not_cold(self) -> None:
        self.assertLess(
            read('debian-12-hot-cache.tables').cold_cache_kib, 10 * MIB
        )

    def test_the_multi_generational_lru_does_not_tell(self) -> None:
        hot = read('debian-12-hot-cache-mglru.tables')
        self.assertIsNone(hot.inactive_file_kib)
        self.assertEqual(0, hot.cold_cache_kib)
        self.assertGreater(hot.page_cache_kib, 200 * MIB)

    def test_only_its_main_switch_counts(self) -> None:
        for switches, cold_kib in (
            (b'0x0000\n', 900000),
            (b'0x0001\n', 0),
            (b'0x0006\n', 900000),
            (b'0x0007\n', 0),
        ):
            self.assertEqual(cold_kib, self.cold_kib(switches), switches)

    def test_a_kernel_that_may_use_it_and_does_not_say(self) -> None:
        for version, cold_kib in (
            (b'Linux version 3.10.0-1160.el7.x86_64 (x)\n', 900000),
            (b'Linux version 5.15.0-100-generic (x)\n', 900000),
            (b'Linux version 6.1.0-50-cloud-amd64 (x)\n', 0),
            (b'Linux version 6.12.5 (x)\n', 0),
            (b'', 0),
        ):
            self.assertEqual(cold_kib, self.cold_kib(version), version)

    def test_an_earlier_kernel_to_which_it_was_added(self) -> None:
        self.assertEqual(
            0,
            self.cold_kib(b'Linux version 5.14.0-503.el9 (x)\n', b'0x0007\n'),
        )


class CommitLimitTest(base.TestCase):
    def test_a_guest_that_does_not_overcommit(self) -> None:
        commit = read('debian-12-strict.tables').commit
        self.assertEqual((498168, 42604), _amounts(commit))
        self.assertEqual(498168 - 42604, commit.left_kib)
        self.assertAlmostEqual(0.5, commit.share, places=4)

    def test_a_guest_that_overcommits_has_no_limit(self) -> None:
        self.assertIsNone(read('debian-12.tables').commit)

    def test_swap_and_huge_pages_do_not_fall_with_the_balloon(self) -> None:
        commit = meminfo.read_tables(
            'agent',
            b'MemTotal: 4000000 kB\nMemFree: 3000000 kB\n'
            b'SwapTotal: 1000000 kB\nHugetlb: 2000000 kB\n'
            b'CommitLimit: 2600000 kB\nCommitted_AS: 3000000 kB\n2\n',
        ).commit
        self.assertAlmostEqual(0.8, commit.share)
        self.assertEqual(0, commit.left_kib)

    def test_it_stays_with_autodeflate_where_the_kernel_is_recent(
        self,
    ) -> None:
        self.assertTrue(read('debian-12-strict.tables').commit.stays)
        for version, stays in (
            (b'', False),
            (b'Linux version 3.10.0-1160.el7 (', False),
            (b'Linux version 4.2.8 (', False),
            (b'Linux version 4.3.0 (', True),
            (b'Linux version 4.18.0-553.el8_10 (', True),
        ):
            commit = meminfo.read_tables(
                'agent',
                b'MemTotal: 4000 kB\nMemFree: 3000 kB\n'
                b'CommitLimit: 2000 kB\nCommitted_AS: 300 kB\n2\n' + version,
            ).commit
            self.assertIs(stays, commit.stays)

    def test_a_limit_that_is_not_told_is_absent(self) -> None:
        self.assertIsNone(
            meminfo.read_tables(
                'agent', b'MemTotal: 4 kB\nMemFree: 3 kB\n2\n'
            ).commit
        )


def _amounts(commit: CommitLimit) -> tuple[int, int]:
    return commit.limit_kib, commit.committed_kib


class NodesTest(base.TestCase):
    def test_each_node_has_its_own_figures(self) -> None:
        memory = read('debian-12-two-nodes.tables')
        self.assertEqual(
            (
                NodeMemory(514640, 415580, 35116, 15364, 996),
                NodeMemory(483056, 446720, 2520, 2468, 32),
            ),
            memory.nodes,
        )
        self.assertEqual(15364 - 996, memory.nodes[0].cold_cache_kib)
        self.assertAlmostEqual(
            memory.free_kib,
            sum(node.free_kib for node in memory.nodes),
            delta=1 * MIB,
        )

    def test_nothing_is_cold_where_the_lru_does_not_tell(self) -> None:
        tables = (fakes.CAPTURED / 'debian-12-two-nodes.tables').read_bytes()
        memory = meminfo.read_tables(
            'agent', tables.replace(b'\n0x0000\n', b'\n0x0007\n')
        )
        self.assertEqual([0, 0], [one.cold_cache_kib for one in memory.nodes])

    def test_a_node_that_is_not_wholly_told_is_absent(self) -> None:
        memory = meminfo.read_tables(
            'agent',
            b'MemTotal: 4 kB\nMemFree: 3 kB\n'
            b'Node 0 MemTotal: 4 kB\nNode 0 MemFree: 3 kB\n',
        )
        self.assertEqual((), memory.nodes)


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
            'Node 0 M' * longest,
            'Node 0 MemFree:' + ' ' * longest,
            'Linux version ' + '1' * longest,
            '2' * longest,
            '0x' + '0' * longest,
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

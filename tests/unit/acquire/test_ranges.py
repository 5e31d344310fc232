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

"""The addresses of free memory, and the ways in which they may be wrong."""

import json
import lzma
import struct
import time
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire import meminfo
from nova_freemem.acquire import ranges
from tests import base
from tests.simulation import fakes
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

FREE = 1 << ranges.BUDDY
HOLE = 1 << ranges.NOPAGE
IN_BALLOON = 1 << ranges.OFFLINE
IN_USE = 0x10086C
UNMARKED = 0


def words(*runs: tuple[int, int]) -> bytes:
    """:returns: a table of runs of pages that have the same word."""
    return b''.join(struct.pack('<Q', word) * pages for word, pages in runs)


# 4 GiB with a hole of 1 GiB; 512 MiB in use.
USED_PAGES, LOW_PAGES, HOLE_PAGES, HIGH_PAGES = (
    kib // 4 for kib in (512 * MIB, 2 * GIB + 512 * MIB, 1 * GIB, 1 * GIB)
)
TABLE = words(
    (IN_USE & ~HOLE, USED_PAGES),
    (FREE, LOW_PAGES),
    (HOLE, HOLE_PAGES),
    (FREE, HIGH_PAGES),
)
FREE_RANGES = (
    (512 * MIB * 1024, 2 * GIB + 512 * MIB),
    (4 * GIB * 1024, 1 * GIB),
)


def auxv(page_bytes: int) -> bytes:
    """:returns: what a kernel with such pages passes to a process."""
    return struct.pack('<6Q', 33, 0x7FFF0000, 6, page_bytes, 0, 0)


def talkative() -> fakes.SimulatedAgent:
    """:returns: the agent of the guest of 4 GiB."""
    return fakes.SimulatedAgent(
        files={ranges.KPAGEFLAGS: TABLE, ranges.AUXV: auxv(4096)}
    )


EXEC = frozenset({'guest-exec', 'guest-exec-status'})
FILES = frozenset({'guest-file-open', 'guest-file-read', 'guest-file-close'})


class RangesTestCase(GuestTestCase):
    deadline_seconds = 60

    def setUp(self) -> None:
        super().setUp()
        self.agent = self.guest.agent = talkative()

    def ask(self) -> ranges.PageRanges:
        return ranges.acquire(
            guest_agent.GuestAgent('guest_agent', 5),
            self.domain,
            self.guest.memory_kib,
            self.clock,
            clocks.Deadline(self.clock, self.deadline_seconds),
        )

    def assert_refused(self, problem: str, table: bytes | None = None) -> None:
        if table is not None:
            self.agent.files[ranges.KPAGEFLAGS] = table
        error = self.assertRaises(exceptions.SourceUnavailable, self.ask)
        self.assertIn(problem, str(error))
        self.assertLess(len(str(error)), 300)
        self.assertEqual({}, self.agent.handles)


class FlagsTest(base.TestCase):
    """How the kernel's words are kept and read."""

    def ranges_of(self, bit: int, *chunks: bytes) -> ranges.Ranges:
        flags = ranges.PageFlags()
        for chunk in chunks:
            flags.add(chunk)
        return flags.ranges(bit, 4)

    def test_nothing_is_free_where_nothing_is_said(self) -> None:
        self.assertEqual((), self.ranges_of(ranges.BUDDY))

    def test_the_first_and_the_last_page(self) -> None:
        table = words((FREE, 1), (IN_USE, 2), (FREE, 1))
        self.assertEqual(
            ((0, 4), (3 * 4096, 4)), self.ranges_of(ranges.BUDDY, table)
        )

    def test_a_range_that_crosses_chunks_is_one(self) -> None:
        half = words((IN_USE, 2), (FREE, 3))
        self.assertEqual(
            ((2 * 4096, 24),),
            self.ranges_of(ranges.BUDDY, half, words((FREE, 3), (IN_USE, 1))),
        )

    def test_each_flag_by_itself(self) -> None:
        table = words(
            (FREE, 1), (HOLE, 2), (IN_BALLOON, 3), (IN_BALLOON | FREE, 1)
        )
        self.assertEqual(
            ((0, 4), (6 * 4096, 4)), self.ranges_of(ranges.BUDDY, table)
        )
        self.assertEqual(((4096, 8),), self.ranges_of(ranges.NOPAGE, table))
        self.assertEqual(
            ((3 * 4096, 16),), self.ranges_of(ranges.OFFLINE, table)
        )

    def test_no_other_flag_is_taken_for_free(self) -> None:
        for bit in set(range(64)) - {ranges.BUDDY}:
            self.assertEqual(
                (), self.ranges_of(ranges.BUDDY, words((1 << bit, 1))), bit
            )

    def test_the_worst_million_of_pages_takes_no_time(self) -> None:
        table = words((FREE, 1), (IN_USE, 1)) * (512 * 1024)
        started_at = time.process_time()
        found = self.ranges_of(ranges.BUDDY, table)
        self.assertLess(time.process_time() - started_at, 2)
        self.assertEqual(512 * 1024, len(found))


class AcquireTest(RangesTestCase):
    def test_a_guest_of_4_gib_with_a_hole(self) -> None:
        answer = self.ask()
        self.assertEqual(FREE_RANGES, answer.free)
        self.assertEqual(3 * GIB + 512 * MIB, answer.free_kib)
        self.assertEqual((), answer.ballooned)
        self.assertEqual(0, answer.drift_kib)

    def test_one_round_trip_for_512_mib_and_few_besides(self) -> None:
        self.ask()
        self.assertEqual(
            len(TABLE) // ranges.CHUNK_BYTES + 1 + 1,
            self.agent.commands.count('guest-file-read'),
        )
        self.assertEqual(20, len(self.agent.commands))
        self.assertEqual({}, self.agent.handles)

    def test_where_files_are_blocked_dd_copies(self) -> None:
        self.agent.blocked = FILES
        self.assertEqual(FREE_RANGES, self.ask().free)

    def test_where_programs_are_blocked_files_are_read(self) -> None:
        self.agent.blocked = EXEC
        self.assertEqual(FREE_RANGES, self.ask().free)

    def test_where_all_is_blocked_the_agent_refuses(self) -> None:
        self.agent.blocked = EXEC | FILES
        self.assertRaises(exceptions.AgentCommandRefused, self.ask)

    def test_pages_in_the_balloon_are_separate(self) -> None:
        self.agent.files[ranges.KPAGEFLAGS] = (
            words((IN_BALLOON, USED_PAGES)) + TABLE[8 * USED_PAGES :]
        )
        answer = self.ask()
        self.assertEqual(((0, 512 * MIB),), answer.ballooned)
        self.assertEqual(512 * MIB, answer.ballooned_kib)
        self.assertEqual(FREE_RANGES, answer.free)

    def test_pages_of_64_kib(self) -> None:
        self.agent.files[ranges.AUXV] = auxv(65536)
        self.agent.files['/proc/buddyinfo'] = (
            b'Node 0, zone Normal' + b' 0' * 10 + b' 56\n'
        )
        self.agent.files[ranges.KPAGEFLAGS] = words(
            (IN_USE & ~HOLE, 8192), (FREE, 57344)
        )
        answer = self.ask()
        self.assertEqual(
            ((512 * MIB * 1024, 3 * GIB + 512 * MIB),), answer.free
        )
        self.assertEqual(0, answer.drift_kib)

    def test_drift_is_what_changed_meanwhile(self) -> None:
        self.agent.files[ranges.KPAGEFLAGS] = (
            words((0, 1024)) + TABLE[8 * 1024 : 8 * -1024] + words((0, 1024))
        )
        answer = self.ask()
        self.assertEqual(4 * 1024, answer.drift_kib)


class RefusedTest(RangesTestCase):
    def test_a_kernel_that_marks_the_first_page_of_a_block_only(self) -> None:
        block = words((FREE, 1), (UNMARKED, 1023))
        self.assert_refused(
            'which marks only the first page of a block',
            TABLE[: 8 * USED_PAGES]
            + block * (LOW_PAGES // 1024)
            + words((HOLE, HOLE_PAGES))
            + block * (HIGH_PAGES // 1024),
        )

    def test_a_table_that_ends_early(self) -> None:
        self.assert_refused('/proc/kpageflags ends too early', TABLE[:-8000])

    def test_an_empty_table(self) -> None:
        self.assert_refused('/proc/kpageflags ends too early', b'')

    def test_half_a_word(self) -> None:
        self.assert_refused('1048572 bytes of /proc/kpageflags', TABLE[:-4])

    def test_more_free_than_the_guest_has(self) -> None:
        self.assert_refused(
            'more free pages than it has', words((FREE, (4 * GIB) // 4 + 1))
        )

    def test_a_table_without_an_end(self) -> None:
        self.agent.files[ranges.KPAGEFLAGS] = bytes(60 << 20)
        self.assert_refused('more pages than it has addresses for')
        self.assertLess(len(self.agent.commands), 60)

    def test_more_ranges_than_we_keep(self) -> None:
        table = (
            words((FREE, 1), (IN_USE & ~HOLE, 1)) * 1024 + TABLE[16 * 1024 :]
        )
        with mock.patch.object(ranges, 'MOST_RANGES', 1000):
            self.assert_refused('more than 1000 ranges', table)

    def test_a_kernel_that_does_not_list_its_free_blocks(self) -> None:
        self.agent.files['/proc/buddyinfo'] = b''
        self.assert_refused('does not report its free blocks')

    def test_an_invalid_page_size(self) -> None:
        for vector in (
            b'',
            auxv(0),
            auxv(4097),
            auxv(1 << 63),
            auxv(4096)[:20],
            bytes(99),
        ):
            self.agent.files[ranges.AUXV] = vector
            self.assert_refused('does not report its page size')

    def test_lists_with_more_than_the_guest_has(self) -> None:
        self.agent.files['/proc/buddyinfo'] = (
            b'Node 0, zone Normal 999999999999\n'
        )
        self.assert_refused('free blocks of')

    def test_a_longer_piece_than_was_asked_for(self) -> None:
        piece = json.dumps(
            {
                'return': {
                    'buf-b64': fakes.encoded(bytes(ranges.CHUNK_BYTES + 8))
                }
            }
        )
        self.script(piece)
        self.assert_refused('1048584 bytes of /proc/kpageflags')

    def test_an_answer_without_measure(self) -> None:
        self.script('x' * (2 * ranges.CHUNK_BYTES + 1))
        self.assert_refused('has 2097153 characters')

    def script(self, piece: str) -> None:
        """Have the agent give this when asked for the table."""
        honest = self.agent.reply

        def reply(command: str, *args: Any) -> str:
            truth = honest(command, *args)
            is_table = (
                json.loads(command)['execute'] == 'guest-file-read'
                and ranges.KPAGEFLAGS in self.agent.handles.values()
            )
            return piece if is_table else truth

        self.patch_autospec(self.agent, 'reply', side_effect=reply)


class TimeTest(RangesTestCase):
    def test_a_slow_agent_is_left_at_the_deadline(self) -> None:
        self.deadline_seconds = 8
        self.agent.latency_seconds = 1
        started_at = self.clock.now()
        self.assert_refused('the deadline passed before')
        self.assertLessEqual(self.clock.now() - started_at, 8 + 1)

    def test_an_agent_that_hangs_costs_one_timeout(self) -> None:
        self.agent.latency_seconds = 3600
        started_at = self.clock.now()
        self.assertRaises(exceptions.AgentUnresponsive, self.ask)
        self.assertLessEqual(self.clock.now() - started_at, 5)

    def test_the_result_says_how_long_it_took(self) -> None:
        self.agent.latency_seconds = 0.5
        self.assertAlmostEqual(10.0, self.ask().seconds)


class HostileTest(RangesTestCase):
    """A guest of 64 MiB that says anything."""

    table = words((IN_USE & ~HOLE, 4096), (FREE, 12288))

    def setUp(self) -> None:
        super().setUp()
        self.guest = self.domain.guest = fakes.SimulatedGuest(
            self.clock,
            memory_kib=64 * MIB,
            used_kib=16 * MIB,
            touched_kib=0,
            agent=self.agent,
        )

    @hypothesis.given(
        beginning=strategies.binary(max_size=4096),
        whole=strategies.booleans(),
        vector=strategies.binary(max_size=64) | strategies.just(auxv(4096)),
        lists=strategies.binary(max_size=64) | strategies.none(),
    )
    def test_any_table_is_read_or_refused(
        self, beginning: bytes, whole: bool, vector: bytes, lists: bytes | None
    ) -> None:
        rest = self.table[len(beginning) :] if whole else b''
        self.agent.files = {
            ranges.KPAGEFLAGS: beginning + rest,
            ranges.AUXV: vector,
        }
        if lists is not None:
            self.agent.files['/proc/buddyinfo'] = lists
        try:
            answer = self.ask()
        except exceptions.SourceUnavailable:
            return
        self.assertLessEqual(answer.free_kib, self.guest.memory_kib)

    def test_the_guest_as_it_is(self) -> None:
        self.agent.files[ranges.KPAGEFLAGS] = self.table
        self.assertEqual(((16 * MIB * 1024, 48 * MIB),), self.ask().free)


class CapturedTest(RangesTestCase):
    """The first 16 MiB of a machine, a zone that kept still meanwhile."""

    name = 'linux-6.18-x86_64-dma'

    def test_ranges_hold_what_the_kernels_own_list_holds(self) -> None:
        flags = ranges.PageFlags()
        flags.add(
            lzma.decompress(
                (fakes.CAPTURED / f'{self.name}.kpageflags.xz').read_bytes()
            )
        )
        listed = meminfo.read_tables(
            'agent',
            b'MemTotal: 1 kB\nMemFree: 1 kB\n'
            + (fakes.CAPTURED / f'{self.name}.buddyinfo').read_bytes(),
        )
        found = flags.ranges(ranges.BUDDY, 4)
        self.assertEqual(4096, len(flags))
        self.assertEqual(
            sum(kib * count for kib, count in listed.free_blocks),
            sum(kib for _address, kib in found),
        )
        self.assertEqual(((1024 * 1024, 15 * MIB),), found)

    def test_page_size_of_a_process(self) -> None:
        self.agent.files[ranges.AUXV] = (
            fakes.CAPTURED / 'linux-6.18-x86_64.auxv'
        ).read_bytes()
        self.assertEqual(4, self.ask().page_kib)

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

"""The balloon takes pages that were free, and no others."""

import base64
from collections.abc import Iterable
import struct

from nova_freemem import clock as clocks
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire import ranges
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import forecast as forecasts
from nova_freemem.plan import planner
from nova_freemem.release import balloon
from nova_freemem.release import watch
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.requests import Requests
from nova_freemem.restore import journal
from tests.lab import guest as lab_guest
from tests.lab import virt
from tests.libvirt import base

NAME = 'lab-ranges'
MEMORY_KIB = 512 << 10
HELD_MIB = 64
FREED_MIB = 250
TARGET_KIB = MEMORY_KIB - (200 << 10)
PAGE_KIB = 4

# A guest that is asked runs its agent and a few timers meanwhile, and each
# processor keeps some pages that are neither in use nor on the free lists.
UNREST_KIB = 4 << 10

# A word of /proc/pid/pagemap: a page is there, and which one.
_PRESENT = 1 << 63
_FRAME = (1 << 55) - 1


class RangesTest(base.RoomTestCase):
    """A guest with memory that it holds and memory that it has freed."""

    specs = (virt.GuestSpec(NAME, MEMORY_KIB >> 10),)

    def setUp(self) -> None:
        super().setUp()
        self.clock = clocks.Clock()
        self.lab_guest = self.guest(NAME)
        self.addCleanup(self.lab_guest.let_go)

    def acquired(self) -> ranges.PageRanges:
        return ranges.acquire(
            guest_agent.GuestAgent('guest_agent', 10),
            self.domain(NAME),
            MEMORY_KIB,
            self.clock,
            clocks.Deadline(self.clock, 60),
        )

    def test_ranges_are_those_of_the_kernels_free_lists(self) -> None:
        self.lab_guest.fill_fragmented(64)
        answer = self.acquired()
        self.assertEqual(PAGE_KIB, answer.page_kib)
        self.assertEqual((), answer.ballooned)
        self.assertGreater(len(answer.free), (64 << 10) / PAGE_KIB / 2 * 0.9)
        self.assertLess(answer.drift_kib, UNREST_KIB)

    def test_only_free_pages_are_taken(self) -> None:
        self.lab_guest.fill_dirty(FREED_MIB)
        held = self.lab_guest.hold(HELD_MIB)
        held_pages = frames_of(self.lab_guest, 'hold', HELD_MIB)
        before = self.acquired()
        was_free = pages(before.free)
        self.assertFalse(held_pages & was_free)

        self.release()
        after = self.acquired()
        taken, is_free = pages(after.ballooned), pages(after.free)

        self.assertEqual((), before.ballooned)
        self.assertEqual(MEMORY_KIB - TARGET_KIB, after.ballooned_kib)
        self.assertFalse(taken & held_pages)
        self.assertFalse(taken & is_free)
        self.assert_few(taken - was_free)
        self.assert_few((was_free - is_free) - taken)
        self.assertEqual(
            held_pages, frames_of(self.lab_guest, 'hold', HELD_MIB)
        )
        found = self.lab_guest.check_held()
        self.assertEqual(0, found.mismatches)
        self.assertEqual(held.checksum, found.checksum)

    def assert_few(self, some: set[int]) -> None:
        self.assertLess(len(some) * PAGE_KIB, UNREST_KIB)

    def release(self) -> None:
        """Release memory as a migration does, and wait for the end."""
        plan = planner.Plan(
            original_kib=MEMORY_KIB,
            rss_kib=self.lab_guest.rss_kib(),
            target_kib=TARGET_KIB,
            free_kib=MEMORY_KIB - TARGET_KIB,
            guest_free_kib=MEMORY_KIB - TARGET_KIB,
            used_kib=0,
            nonresident_kib=0,
            headroom_kib=32 << 10,
            plain=forecasts.Forecast(1.0, 1.0, float(MEMORY_KIB)),
            expected_saving_kib=MEMORY_KIB - TARGET_KIB,
            expected_saving_seconds=1.0,
            expected_sent_kib=float(TARGET_KIB),
            mode=planner.Mode.BEFORE,
            bandwidth=bandwidths.Bandwidth.of_mbps(
                1000, bandwidths.Origin.ASSUMED
            ),
            source='guest_agent',
        )
        domain = self.domain(NAME)
        self.addCleanup(self.restore)
        releasing = watch.Watch(
            balloon.Balloon(), domain, journal.Record(domain), self.clock
        )
        releasing.start(plan)
        release = releasing.until_end(
            plan,
            Phase.BEFORE_TRANSFER,
            Requests(),
            clocks.Deadline(self.clock, 60),
        )
        self.assertIs(EndReason.TARGET_REACHED, release.end)
        self.wait_for_balloon_kib(TARGET_KIB)

    def restore(self) -> None:
        domain = self.domain(NAME)
        domain.set_stats_period_seconds(10)
        domain.set_balloon_kib(MEMORY_KIB)
        self.wait_for_balloon_kib(MEMORY_KIB)

    def wait_for_balloon_kib(self, kib: int) -> None:
        self.wait_until(
            f'the guest has {kib} KiB',
            lambda: self.lab_guest.balloon_kib() == kib,
        )


def pages(found: ranges.Ranges) -> set[int]:
    """:returns: the numbers of the pages in ranges."""
    numbers: Iterable[int] = (
        number
        for address, kib in found
        for number in range(address >> 12, (address >> 12) + kib // PAGE_KIB)
    )
    return set(numbers)


def frames_of(guest: lab_guest.Guest, program: str, mib: int) -> set[int]:
    """:returns: the pages that a program's largest mapping is in."""
    pid = guest.do('pidof', program).strip()
    largest = max(
        (
            [int(end, 16) for end in line.split()[0].split('-')]
            for line in guest.do('cat', f'/proc/{pid}/maps').splitlines()
        ),
        key=lambda mapping: mapping[1] - mapping[0],
    )
    words = base64.b64decode(
        guest.do(
            'sh',
            '-c',
            f'dd if=/proc/{pid}/pagemap bs=8 skip={largest[0] >> 12}'
            f' count={mib << 8} 2> /dev/null | base64',
        )
    )
    frames = {
        word & _FRAME
        for (word,) in struct.iter_unpack('<Q', words)
        if word & _PRESENT
    }
    if len(frames) != mib << 8:
        raise AssertionError(f'{len(frames)} pages of {mib} MiB are there')
    return frames

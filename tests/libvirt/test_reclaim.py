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

"""Page cache that a guest drops when it is asked to."""

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire.free_memory import CacheCounts
from nova_freemem.release import reclaim
from nova_freemem.release import reclaim_rules
from tests.lab import virt
from tests.libvirt import base
from tests.simulation import fakes

GUEST = 'lab-reclaim'
MEMORY_MIB = 768
CACHE_MIB = 384
PORTION_KIB = 64 << 10


class ReclaimTest(base.RoomTestCase):
    """A kernel of Debian 12, 6.1, and its agent."""

    specs = (virt.GuestSpec(GUEST, MEMORY_MIB),)

    def drop(self, *amounts_kib: int, has_swap: bool = False) -> int:
        clock = clocks.Clock()
        reclaimer = reclaim.GuestReclaim('guest_reclaim', 5)
        plan = fakes.make_plan(has_swap=has_swap)
        deadline = clocks.Deadline(clock, 60)
        domain = self.domain(GUEST)
        with reclaimer.dropping(domain, plan, clock, deadline) as drop:
            return sum(drop(amount_kib) for amount_kib in amounts_kib)

    def test_it_drops_as_much_cold_page_cache_as_it_is_asked_to(self) -> None:
        guest = self.guest(GUEST)
        guest.fill_cache(CACHE_MIB)
        before = guest.meminfo()
        dropped_kib = self.drop(PORTION_KIB, PORTION_KIB)
        after = guest.meminfo()
        most_kib = reclaim_rules.MOST_TIMES * 2 * PORTION_KIB
        self.assertTrue(2 * PORTION_KIB <= dropped_kib <= most_kib)
        for name, fall_kib in (
            ('Inactive(file)', dropped_kib),
            ('Active(file)', 0),
            ('MemFree', -dropped_kib),
        ):
            self.assertAlmostEqual(
                fall_kib, before[name] - after[name], delta=16 << 10, msg=name
            )

    def counts(self) -> CacheCounts:
        clock = clocks.Clock()
        source = guest_agent.GuestAgent('guest_agent', 5)
        counts = source.cache_counts(
            self.domain(GUEST), clock, clocks.Deadline(clock, 5)
        )
        assert counts is not None
        return counts

    def test_what_it_has_dropped_and_reads_again_is_counted(self) -> None:
        guest = self.guest(GUEST)
        guest.fill_cache(CACHE_MIB)
        before = self.counts()
        dropped_kib = self.drop(PORTION_KIB, PORTION_KIB)
        missed_kib = self.counts().missed_since(before, dropped_kib)
        self.assertLess(missed_kib, 1 << 10)
        guest.read_disk()
        after = self.counts()
        for missed_kib in (
            after.reread_kib - before.reread_kib,
            after.missed_since(before, dropped_kib),
        ):
            self.assertAlmostEqual(dropped_kib, missed_kib, delta=16 << 10)

    def test_it_says_when_there_is_no_more(self) -> None:
        self.guest(GUEST).fill_cache(CACHE_MIB)
        with self.assertRaises(exceptions.NothingToDrop):
            self.drop(*[PORTION_KIB] * 16)

    def test_an_older_kernel_refuses_where_there_is_swap(self) -> None:
        guest = self.guest(GUEST)
        guest.fill_cache(CACHE_MIB)
        before = guest.meminfo()
        with self.assertRaises(exceptions.SwapInTheWay):
            self.drop(PORTION_KIB, has_swap=True)
        self.assertAlmostEqual(
            before['Inactive(file)'],
            guest.meminfo()['Inactive(file)'],
            delta=16 << 10,
        )

    def test_nothing_is_written_where_the_file_is_missing(self) -> None:
        guest = self.guest(GUEST)
        guest.do('umount', '/sys/fs/cgroup')
        self.addCleanup(
            guest.do, 'mount', '-t', 'cgroup2', 'none', '/sys/fs/cgroup'
        )
        with self.assertRaisesRegex(
            exceptions.AgentCommandRefused, 'No such file or directory'
        ):
            self.drop(PORTION_KIB)

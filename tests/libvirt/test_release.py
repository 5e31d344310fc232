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

"""The plugin's steps, one after the other, on a real guest."""

from unittest import mock

from nova_freemem import clock as clocks
from nova_freemem.acquire import base as acquire
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.migrate import decision
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.release import reclaim_rules
from nova_freemem.release import stop_rules
from nova_freemem.release.base import EndReason
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.virt import domain_xml
from nova_freemem.virt import host as hosts
from tests.lab import guest as lab_guest
from tests.lab import virt
from tests.libvirt import base

GUEST = 'lab-release'
RESTRICTED = 'lab-release-restricted'
MEMORY_MIB = 1024
DIRTY_MIB = 600
RESTRICTED_MIB = 512


class ReleaseTestCase(base.RoomTestCase):
    """A guest that migrates."""

    specs = (virt.GuestSpec(GUEST, MEMORY_MIB),)

    def setUp(self) -> None:
        super().setUp()
        self.clock = clocks.Clock()
        self.reporter = mock.create_autospec(reporters.Reporter, instance=True)

    def have_cold_page_cache(self) -> lab_guest.Guest:
        """:returns: the guest; the other tests are about what is free"""
        guest = self.guest(GUEST)
        guest.let_go()
        guest.fill_cache(DIRTY_MIB)
        self.addCleanup(
            guest.do, 'sh', '-c', 'echo 1 > /proc/sys/vm/drop_caches'
        )
        return guest

    def migration(self) -> source.SourceMigration:
        return source.SourceMigration(
            self.domain(GUEST),
            base.host_engine(),
            self.reporter,
            decision.Migration(
                uuid='2c1f8a6e-0000-4000-8000-000000000002',
                host='freemem-host1',
                dest='freemem-host2',
                os_type='linux',
            ),
            self.clock,
            lambda known: self.fail(f'{known} is to be restored'),
        )

    def release(self) -> bool:
        state = self.migration().prepare()
        self.reporter.skipped.assert_not_called()
        self.reporter.error.assert_not_called()
        self.reporter.released.assert_called_once()
        # The next test's guest is the same one, whatever becomes of this.
        self.addCleanup(self.reconcile)
        return isinstance(state, states.Released)

    def reconcile(self) -> bool:
        where, _ = virt.find(GUEST)
        restorer = reconciler.Reconciler(
            hosts.Connections(where.libvirt, 1).host,
            locks.Locks(self.clock),
            self.clock,
            60,
            1,
        )
        return restorer.restore_and_wait(
            self.domain(GUEST).uuid, self.reporter, None
        )

    def restore(self) -> None:
        arrived = self.domain(GUEST)
        self.assertIsNotNone(journal.read(arrived))
        self.assertTrue(self.reconcile())
        self.reporter.restore_failed.assert_not_called()
        (result,) = self.reporter.restored.call_args.args
        self.assertEqual(MEMORY_MIB << 10, result.after_kib)
        _, handle = virt.find(GUEST)
        self.assertEqual(MEMORY_MIB << 10, virt.persistent_memory_kib(handle))
        self.assertIsNone(journal.read(arrived))
        self.assertEqual(10, domain_xml.stats_period_seconds(arrived.xml()))


class ReleaseTest(ReleaseTestCase):
    """It has freed most of its memory, or has cold page cache."""

    specs = (
        *ReleaseTestCase.specs,
        virt.GuestSpec(
            RESTRICTED, RESTRICTED_MIB, 1, flags='freemem.agent=restricted'
        ),
    )

    def acquired(self, name: str, memory_mib: int) -> FreeMemory:
        driver = self.domain(name).fresh_memory_stats(self.clock)
        self.assertIsNotNone(driver)
        return acquire.acquire_from(
            base.host_engine().sources,
            self.domain(name),
            memory_mib << 10,
            driver,
            self.clock,
            clocks.Deadline(self.clock, 30),
        )

    def test_the_agent_reports_free_memory_and_its_blocks(self) -> None:
        guest = self.guest(GUEST)
        found = self.acquired(GUEST, MEMORY_MIB)
        figures = guest.meminfo()
        self.assertEqual('guest_agent', found.source)
        self.assertEqual(figures['MemTotal'], found.total_kib)
        self.assertAlmostEqual(
            figures['MemFree'], found.free_kib, delta=32 << 10
        )
        in_blocks_kib = sum(size * count for size, count in found.free_blocks)
        self.assertAlmostEqual(found.free_kib, in_blocks_kib, delta=32 << 10)

    def test_balloon_statistics_do_for_a_restricted_agent(self) -> None:
        self.guest(RESTRICTED)
        found = self.acquired(RESTRICTED, RESTRICTED_MIB)
        self.assertEqual('balloon_stats', found.source)
        self.assertGreater(found.free_kib, RESTRICTED_MIB << 9)

    def test_free_memory_is_not_transferred_and_is_restored(self) -> None:
        guest = self.guest(GUEST)
        held = guest.hold(64)
        guest.fill_dirty(DIRTY_MIB)
        resident_kib = guest.rss_kib()
        self.assertGreater(resident_kib, DIRTY_MIB << 10)
        self.assertTrue(self.release())
        self.assertLess(guest.rss_kib(), resident_kib - (400 << 10))
        _, handle = virt.find(GUEST)
        moved = virt.migrate(handle, self.other_host(GUEST))
        self.assertLess(moved.bytes_sent, 400 << 20)
        self.restore()
        checked = self.guest(GUEST).check_held()
        self.assertEqual(0, checked.mismatches)
        self.assertEqual(held.checksum, checked.checksum)

    def test_cold_page_cache_is_dropped_before_the_balloon_takes_it(
        self,
    ) -> None:
        guest = self.have_cold_page_cache()
        self.assertTrue(self.release())
        plan, release = self.reporter.released.call_args.args
        self.assertEqual('', release.not_dropped)
        self.assertGreater(plan.cold_kib, (DIRTY_MIB // 2) << 10)
        # How much depends on who is quicker, the kernel or the balloon.
        self.assertGreater(
            release.dropped_kib,
            reclaim_rules.FIRST_PORTION_KIB // reclaim_rules.MOST_TIMES,
        )
        # The rest was never touched, where all that was resident is released.
        self.assertIn(
            release.end,
            (EndReason.TARGET_REACHED, EndReason.RESIDENT_RELEASED),
        )
        self.assertLess(
            guest.rss_kib(), plan.least_rss_kib + stop_rules.NEAR_KIB
        )
        self.restore()


class ReadAgainTest(ReleaseTestCase):
    """What was cold is not."""

    def test_a_guest_that_reads_it_again_has_its_memory_back(self) -> None:
        guest = self.have_cold_page_cache()
        migration = self.migration()
        state = migration.prepare()
        self.assertIsInstance(state, states.Released)
        self.assertLess(guest.balloon_kib(), MEMORY_MIB << 10)
        with migration.transfer(state):
            guest.read_disk()
            self.wait_until(
                'all of its memory',
                lambda: guest.balloon_kib() == MEMORY_MIB << 10,
            )
        _plan, end = self.reporter.restored_during_transfer.call_args.args
        self.assertIs(EndReason.READS_AGAIN, end)
        self.restore()

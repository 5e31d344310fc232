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

"""The balloon of a real guest, and guests without a working one."""

import libvirt

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests
from tests.lab import virt
from tests.libvirt import base

# libvirt's numbers, as the operator reads them in a log.
_INTERNAL = 1
_BAD_ARGUMENT = 8
_INVALID = 55

BALLOON = 'lab-balloon'
NO_DEVICE = 'lab-no-balloon'
NO_DRIVER = 'lab-no-driver'

MEMORY_MIB = 512
SHRUNK_KIB = 256 << 10


class BalloonTest(base.RoomTestCase):
    """A guest whose balloon works and does not report free pages."""

    specs = (virt.GuestSpec(BALLOON, MEMORY_MIB),)

    def setUp(self) -> None:
        super().setUp()
        self.clock = clocks.Clock()

    def test_fresh_statistics_are_of_this_moment(self) -> None:
        guest = self.guest(BALLOON)
        domain = self.domain(BALLOON)
        before = domain.fresh_memory_stats(self.clock)
        guest.fill_dirty(128, free=False)
        self.addCleanup(guest.let_go)
        started = self.clock.now()
        after = domain.fresh_memory_stats(self.clock)
        seconds = self.clock.now() - started
        self.assertIsNotNone(before)
        self.assertIsNotNone(after)
        self.assertGreater(before.free_kib - after.free_kib, 120 << 10)
        self.assertLess(seconds, guests.FRESH_STATS_SECONDS)

    def test_the_period_of_the_statistics_stays(self) -> None:
        domain = self.domain(BALLOON)
        domain.fresh_memory_stats(self.clock)
        stats = domain.xml().find('devices/memballoon/stats')
        self.assertEqual('10', stats.get('period'))

    def test_an_older_kernel_does_not_report_whom_it_killed(self) -> None:
        self.assertIsNone(self.domain(BALLOON).oom_kills())

    def test_shrinking_returns_resident_memory_to_the_host(self) -> None:
        guest = self.guest(BALLOON)
        domain = self.domain(BALLOON)
        guest.fill_dirty(300)
        resident_kib = guest.rss_kib()
        domain.set_balloon_kib(SHRUNK_KIB)
        self.addCleanup(self.restore)
        self.wait_until(
            'the balloon reaches its target',
            lambda: guest.balloon_kib() <= SHRUNK_KIB,
        )
        resident_fall_kib = resident_kib - guest.rss_kib()
        self.assertGreater(resident_fall_kib, 128 << 10)
        self.assertLess(guest.meminfo()['MemTotal'], SHRUNK_KIB)

    def restore(self) -> None:
        self.domain(BALLOON).set_balloon_kib(MEMORY_MIB << 10)
        guest = self.guest(BALLOON)
        self.wait_until(
            'all memory of the guest is restored',
            lambda: guest.balloon_kib() == MEMORY_MIB << 10,
        )

    def test_targets_of_zero_and_above_the_maximum_are_refused(self) -> None:
        domain = self.domain(BALLOON)
        for target_kib in (0, (MEMORY_MIB << 10) + 4):
            with self.assertRaises(exceptions.TargetRefused) as caught:
                domain.set_balloon_kib(target_kib)
            self.assertEqual(_BAD_ARGUMENT, caught.exception.details['code'])

    def test_the_persistent_definition_is_corrected_on_request(self) -> None:
        domain = self.domain(BALLOON)
        _, handle = virt.find(BALLOON)
        handle.setMemoryFlags(SHRUNK_KIB, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        domain.set_balloon_kib(MEMORY_MIB << 10)
        self.assertEqual(SHRUNK_KIB, self.persistent_kib())
        domain.set_balloon_kib(MEMORY_MIB << 10, definition=True)
        self.assertEqual(MEMORY_MIB << 10, self.persistent_kib())

    def test_without_a_definition_its_memory_is_restored_and_later_that(
        self,
    ) -> None:
        """Nova undefines a domain while it makes a snapshot of it."""
        domain = self.domain(BALLOON)
        where, handle = virt.find(BALLOON)
        journal.write(domain, base.entry(MEMORY_MIB << 10))
        domain.set_balloon_kib(SHRUNK_KIB, definition=True)
        self.wait_until(
            'the balloon reaches its target',
            lambda: domain.memory_stats().actual_kib <= SHRUNK_KIB,
        )
        definition = handle.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        handle.undefine()
        self.assertFalse(domain.is_persistent())
        for change in (
            lambda: domain.set_balloon_kib(MEMORY_MIB << 10, definition=True),
            lambda: domain.set_stats_period_seconds(10, definition=True),
            domain.erase_metadata,
        ):
            with self.assertRaises(exceptions.OperationInvalid):
                change()
        self.assertEqual(SHRUNK_KIB, domain.memory_stats().actual_kib)
        restoration = restorations.Restoration(domain, self.clock)
        restoration.watch(30)
        self.assertTrue(restoration.awaits_definition)
        self.assertEqual(MEMORY_MIB << 10, domain.memory_stats().actual_kib)
        where.libvirt().defineXML(definition)
        self.assertTrue(domain.is_persistent())
        self.assertEqual(SHRUNK_KIB, self.persistent_kib())
        restoration.watch(30)
        self.assertTrue(restoration.is_done)
        self.assertEqual(MEMORY_MIB << 10, self.persistent_kib())
        self.assertIsNone(journal.read(domain))

    def persistent_kib(self) -> int:
        return virt.persistent_memory_kib(virt.find(BALLOON)[1])

    def test_metadata_is_absent_then_there_then_erased(self) -> None:
        domain = self.domain(BALLOON)
        entry = base.entry(MEMORY_MIB << 10)
        self.assertIsNone(journal.read(domain))
        journal.write(domain, entry)
        self.assertEqual(entry, journal.read(domain))
        journal.erase(domain)
        self.assertIsNone(journal.read(domain))
        journal.erase(domain)


class NoBalloonTest(base.RoomTestCase):
    """Guests without a balloon device, and without its driver."""

    specs = (
        virt.GuestSpec(NO_DEVICE, 256, 1, balloon=False),
        virt.GuestSpec(NO_DRIVER, 256, 1, flags='freemem.balloon=off'),
    )

    def test_domain_without_a_balloon(self) -> None:
        domain = self.domain(NO_DEVICE)
        with self.assertRaises(exceptions.OperationInvalid) as caught:
            domain.set_balloon_kib(200 << 10)
        self.assertEqual(_INVALID, caught.exception.details['code'])

    def test_statistics_of_a_domain_without_a_balloon(self) -> None:
        domain = self.domain(NO_DEVICE)
        self.assertIsNone(domain.memory_stats())
        self.assertIsNone(domain.fresh_memory_stats(clocks.Clock()))
        with self.assertRaises(exceptions.LibvirtError) as caught:
            domain.set_stats_period_seconds(1)
        self.assertEqual(_INTERNAL, caught.exception.details['code'])

    def test_guest_without_a_balloon_driver_has_no_statistics(self) -> None:
        domain = self.domain(NO_DRIVER)
        self.assertIsNone(domain.fresh_memory_stats(clocks.Clock()))
        balloon = domain.memory_stats()
        self.assertIsNone(balloon.last_update_seconds)
        self.assertIsNone(balloon.free_kib)

    def test_guest_without_a_balloon_driver_does_not_shrink(self) -> None:
        domain = self.domain(NO_DRIVER)
        before_kib = domain.memory_stats().actual_kib
        domain.set_balloon_kib(before_kib // 2)
        self.assertIsNone(domain.fresh_memory_stats(clocks.Clock()))
        self.assertEqual(before_kib, domain.memory_stats().actual_kib)

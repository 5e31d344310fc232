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

"""Guests that migrate between two libvirtd, shrunk or not."""

from concurrent import futures

import libvirt

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.cli import watch
from nova_freemem.plan import bandwidth
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests
from tests.lab import network
from tests.lab import room
from tests.lab import virt
from tests.libvirt import base

_TIMED_OUT = 68

GUEST = 'lab-migrated'
MEMORY_MIB = 512
SHRUNK_KIB = 300 << 10
SLOW_MBIT = 20  # Slow enough that libvirt's 30 s pass during a migration.


class MigrationTest(base.RoomTestCase):
    """One guest that migrates to and fro and checks its memory."""

    specs = (virt.GuestSpec(GUEST, MEMORY_MIB),)

    def setUp(self) -> None:
        super().setUp()
        guest = self.guest(GUEST)
        self.held = guest.hold(48)
        self.addCleanup(lambda: self.guest(GUEST).let_go())

    def assert_intact(self) -> None:
        found = self.guest(GUEST).check_held()
        self.assertEqual(0, found.mismatches)
        self.assertEqual(self.held.checksum, found.checksum)
        self.assertGreater(found.rewritten, self.held.rewritten)

    def migrate(self) -> virt.Migration:
        _, handle = virt.find(GUEST)
        return virt.migrate(handle, self.other_host(GUEST))

    def test_migration_costs_what_is_resident(self) -> None:
        _, handle = virt.find(GUEST)
        self.guest(GUEST).fill_dirty(200)
        migration = self.migrate()
        self.assert_intact()
        self.assertGreater(migration.bytes_sent, 200 << 20)
        self.assertLess(migration.bytes_sent, (MEMORY_MIB + 100) << 20)
        self.assertGreater(migration.downtime_ms, 0)
        with self.assertRaises(exceptions.DomainGone):
            guests.Guest(handle).memory_stats()

    def test_memory_is_restored_at_the_destination(
        self,
    ) -> None:
        original_kib = MEMORY_MIB << 10
        entry = base.entry(original_kib)
        source = self.domain(GUEST)
        journal.write(source, entry)
        source.set_balloon_kib(SHRUNK_KIB)
        _, handle = virt.find(GUEST)
        # info() and the XML are updated once a second.
        self.wait_until(
            'libvirt knows that the balloon has reached its target',
            lambda: handle.info()[2] <= SHRUNK_KIB,
        )
        arrived = self.migrate().domain
        self.assertEqual(SHRUNK_KIB, virt.persistent_memory_kib(arrived))
        for definition in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            self.assertIn(guests.METADATA_URI, arrived.XMLDesc(definition))
        destination = guests.Guest(arrived)
        self.assertEqual(entry, journal.read(destination))
        seen = restorations.Restoration(destination, clocks.Clock()).watch(30)
        restored = seen.result
        assert restored is not None
        self.assertEqual(original_kib, restored.after_kib)
        self.assertEqual(original_kib, virt.persistent_memory_kib(arrived))
        for definition in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            self.assertNotIn(guests.METADATA_URI, arrived.XMLDesc(definition))
        self.assert_intact()

    def test_balloon_cannot_be_set_while_the_guest_migrates(self) -> None:
        where, handle = virt.find(GUEST)
        network.set_link(SLOW_MBIT)
        self.addCleanup(network.set_link, room.LINK_MBIT)
        with futures.ThreadPoolExecutor() as pool:
            transfer = pool.submit(self.migrate)
            self.wait_until('the transfer runs', lambda: sends(handle))
            with self.assertRaises(exceptions.DomainBusy) as caught:
                guests.Guest(handle).set_balloon_kib(SHRUNK_KIB)
            self.assertEqual(_TIMED_OUT, caught.exception.details['code'])
            handle.abortJob()
            self.assertIsInstance(transfer.exception(), libvirt.libvirtError)
        self.assertEqual(where.name, virt.find(GUEST)[0].name)
        self.assert_intact()

    def test_an_operator_watches_it_on_both_hosts(self) -> None:
        _, handle = virt.find(GUEST)
        other = self.other_host(GUEST)
        self.guest(GUEST).fill_dirty(200)
        network.set_link(SLOW_MBIT)
        self.addCleanup(network.set_link, room.LINK_MBIT)
        clock = clocks.Clock()
        with futures.ThreadPoolExecutor() as pool:
            transfer = pool.submit(self.migrate)
            self.wait_until('the transfer runs', lambda: sends(handle))
            samples = []
            for _ in range(2):
                samples.append(
                    watch.take_sample(guests.Guest(handle), 'host', clock)
                )
                clock.wait(1.5)
            arriving = other.libvirt().lookupByUUIDString(handle.UUIDString())
            there = watch.take_sample(guests.Guest(arriving), 'host', clock)
            handle.abortJob()
            self.assertIsInstance(transfer.exception(), libvirt.libvirtError)
        leaves = watch.make_row(*samples)
        assert leaves is not None and leaves.kib_per_second is not None
        self.assertEqual(
            ('out', 'transferring'), (leaves.direction, leaves.phase)
        )
        self.assertEqual(MEMORY_MIB << 10, leaves.balloon_kib)
        mbps = leaves.kib_per_second / bandwidth.KIB_PER_SECOND_PER_MBPS
        self.assertGreater(mbps, SLOW_MBIT / 3)
        self.assertLess(mbps, SLOW_MBIT * 3)
        self.assertGreater(leaves.left_seconds, 10)
        arrives = watch.make_row(None, there)
        assert arrives is not None
        self.assertEqual(
            ('in', 'arriving'), (arrives.direction, arrives.phase)
        )


def sends(handle: libvirt.virDomain) -> bool:
    """Tell whether a transfer is under way."""
    return handle.jobStats().get('memory_processed', 0) > 0

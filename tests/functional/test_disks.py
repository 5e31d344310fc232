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

"""The hosts share no disks: libvirt copies them before it sends memory."""

import functools
import threading
import time

import fixtures
from nova.virt.libvirt import driver as nova_driver

from nova_freemem import clock
from tests.functional import base
from tests.functional import fakedomain

RELEASE = 'compute_freemem_release'
RESTORE = 'compute_freemem_restore'
INTERRUPTED = 'compute_freemem_skip_interrupted'

DISK_BYTES = 2 << 30
COPY_SECONDS = 2.0


class HostsThatShareNoDisks(base.LiveMigrationTestCase):
    """A server whose disk of 2 GiB migrates with it."""

    CLOCK = clock.Clock

    def setUp(self) -> None:
        super().setUp()
        # Nova's fixtures make no files.
        for name, answer in (
            ('_check_shared_storage_test_file', False),
            ('_get_instance_disk_info', []),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f'{nova_driver.__name__}.LibvirtDriver.{name}',
                    functools.partial(self._answer, answer),
                )
            )
        self.source.sends_at_once = False
        self.source.transfer = self.copy_and_send
        self.copying = threading.Event()

    @staticmethod
    def _answer(answer: object, *_args: object) -> object:
        return answer

    def copy_disks(self, domain: fakedomain.Domain) -> None:
        """Copy half of the disk, in which the guest keeps all it has."""
        domain.copy_disks(DISK_BYTES, DISK_BYTES)
        self.copying.set()
        # By this pace it would take an hour.
        for left_bytes in range(DISK_BYTES, DISK_BYTES - 10, -1):
            domain.copy_disks(DISK_BYTES, left_bytes)
            if domain.cancelled.wait(COPY_SECONDS / 10):
                return
        self.least_while_copying_kib = self.guest.least_kib
        self.entries_while_copying = base.journal_entries(domain, base.LIVE)

    def copy_and_send(self, domain: fakedomain.Domain) -> None:
        """Copy the disk, and send memory until the guest has released it."""
        self.copy_disks(domain)
        domain.copy_disks(DISK_BYTES, 0)
        domain.send()
        patience = time.monotonic() + base.PATIENCE_SECONDS
        while not self.log_lines('INFO'):
            if domain.cancelled.is_set():
                return
            self.assertLess(time.monotonic(), patience)
            time.sleep(0.1)

    def test_guest_keeps_all_its_memory_until_its_disk_has_been_copied(
        self,
    ) -> None:
        self.migrate()
        self.assertEqual(base.MEMORY_KIB, self.least_while_copying_kib)
        self.assertEqual([str(base.MEMORY_KIB)], self.entries_while_copying)
        self.assertLess(self.guest.least_kib, base.MEMORY_KIB // 2)
        self.assert_whole(self.destination)
        events = self.events()
        self.assertEqual('Success', events[RELEASE])
        self.assertEqual('Success', events[RESTORE])
        released, restored = self.log_lines('INFO')
        self.assertIn(' MiB during the transfer in ', released)
        self.assertIn(f'-> {base.MEMORY_KIB} KiB', restored)

    def test_operator_aborts_while_the_disk_is_copied(self) -> None:
        self.ask_to_migrate()
        self.assertTrue(self.copying.wait(base.PATIENCE_SECONDS))
        self.api.api_delete(self.migration_url())
        self.see(*base.FAILED, 'source')
        self.assert_no_allocation_at_the_destination()
        self.assertEqual(base.MEMORY_KIB, self.guest.least_kib)
        self.assert_whole(self.source)
        self.assertEqual('Success', self.events()[INTERRUPTED])
        self.assertEqual([], self.log_lines('ERROR'))

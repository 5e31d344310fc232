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

"""nova-compute is stopped while a guest is being migrated."""

import threading

from nova_freemem import clock
from tests.functional import base
from tests.functional import fakedomain


class ShutdownTestCase(base.LiveMigrationTestCase):
    """Nova does not wait for its migrations, as it does before 34."""

    CLOCK = clock.Clock
    CONFIGURATION = base.FOR_ANY_DESTINATION + 'mode = before\n'

    def setUp(self) -> None:
        super().setUp()
        if base.NOVA_SERIES >= 34:
            self.flags(manager_shutdown_timeout=15)

    def stop(self, host: str) -> None:
        """Stop nova-compute as SIGTERM does."""
        self.computes[host].stop()


class DuringTheRelease(ShutdownTestCase):
    """The guest is slow to release."""

    def test_migration_is_cancelled_and_the_guest_whole(self) -> None:
        self.guest.inflate_kib_per_second = base.MEMORY_KIB // 256
        transfers: list[fakedomain.Domain] = []
        self.source.transfer = transfers.append
        self.ask_to_migrate()
        self.wait_for(True, lambda: self.guest.actual_kib < base.MEMORY_KIB)
        self.stop('source')
        self.assert_whole(self.source)
        self.see('cancelled', 'active', 'source')
        self.assertEqual([], transfers)
        self.assert_no_allocation_at_the_destination()


class DuringTheTransfer(ShutdownTestCase):
    """The guest is released, and its transfer takes long."""

    def setUp(self) -> None:
        super().setUp()
        if base.NOVA_SERIES >= 34:
            self.flags(manager_shutdown_timeout=3)
        self.begun, self.ends = threading.Event(), threading.Event()
        self.addCleanup(self.ends.set)
        self.source.transfer = self._transfer

    def _transfer(self, domain: fakedomain.Domain) -> None:
        self.begun.set()
        self.ends.wait(base.PATIENCE_SECONDS)

    def test_guest_is_whole_while_the_transfer_goes_on(self) -> None:
        self.ask_to_migrate()
        self.assertTrue(self.begun.wait(base.PATIENCE_SECONDS))
        self.assertLess(self.guest.actual_kib, base.MEMORY_KIB)
        self._stop_source()
        self.assertEqual(base.MEMORY_KIB, self.guest.target_kib)
        leaving = self.domain_at(self.source)
        self.assertFalse(leaving.cancelled.is_set())
        self.assertEqual(
            [str(base.MEMORY_KIB)], base.journal_entries(leaving, base.LIVE)
        )

    def _stop_source(self) -> None:
        if base.NOVA_SERIES >= 34:
            self.stop('source')
        else:  # Its pool for live migrations waits for them in these tests.
            self.computes['source'].driver.cleanup_host('source')


class DuringTheRestoration(ShutdownTestCase):
    """The guest has landed, and has taken little of its memory by then."""

    def test_destination_waits_for_the_guest(self) -> None:
        self.guest.deflate_kib_per_second = base.MEMORY_KIB // 4096
        self.ask_to_migrate()
        self.wait_for(['destination'], self._hosts_that_restore)
        self.assertLess(self.guest.actual_kib, base.MEMORY_KIB)
        self.guest.deflate_kib_per_second = base.MEMORY_KIB // 4
        self.stop('destination')
        self.assert_whole(self.destination)

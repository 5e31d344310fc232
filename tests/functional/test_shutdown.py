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

import itertools
import threading
import time
import types
import unittest

import fixtures
from nova import manager
import nova.conf.base

from nova_freemem import clock
from nova_freemem.migrate import shutdown
from nova_freemem.report import event_queue
from tests.functional import base
from tests.functional import fakedomain

# Of the seconds that Nova 34 gives its manager, those that it keeps for its
# driver and its thread pools (nova/compute/manager.py).
RESERVED_SECONDS = 20


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


@unittest.skipIf(base.NOVA_SERIES < 34, 'Nova does not wait before 34')
class WithNovasDefaults(ShutdownTestCase):
    """Nobody has configured how long Nova waits for its migrations."""

    def setUp(self) -> None:
        super().setUp()
        # Nova's fixtures have it wait for nothing.
        option = next(
            one
            for one in nova.conf.base.base_options
            if one.name == 'manager_shutdown_timeout'
        )
        self.flags(manager_shutdown_timeout=option.default)
        self.waits_seconds = option.default - RESERVED_SECONDS

    def stop_in_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self.stop, args=('source',))
        thread.start()
        self.addCleanup(thread.join)
        self.wait_for(
            True,
            lambda: (
                f'waiting up to {self.waits_seconds} seconds'
                in self.stdlog.logger.output
            ),
        )
        return thread

    def assert_ends(self, stopped: threading.Thread) -> None:
        """Nova has time left for its own, of what it keeps for that."""
        stopped.join(RESERVED_SECONDS)
        self.assertFalse(stopped.is_alive())

    def test_novas_waits_are_those_that_the_plugin_was_made_for(self) -> None:
        self.assertEqual(140, self.waits_seconds)
        self.assertEqual(180, base.CONF.graceful_shutdown_timeout)
        ours = shutdown.WAIT_SECONDS + 2 * event_queue.FLUSH_SECONDS
        self.assertLess(ours, RESERVED_SECONDS)

    def test_release_goes_on_and_the_server_moves(self) -> None:
        self.guest.inflate_kib_per_second = base.MEMORY_KIB // 8
        self.ask_to_migrate()
        self.wait_for(True, lambda: self.guest.actual_kib < base.MEMORY_KIB)
        stopped = self.stop_in_thread()
        self.see('completed', 'active', 'destination')
        self.assert_ends(stopped)
        self.assertLess(self.guest.least_kib, base.MEMORY_KIB // 2)
        self.assert_whole(self.destination)

    def test_transfer_outlasts_the_wait_with_a_guest_that_is_whole(
        self,
    ) -> None:
        begun, ends = threading.Event(), threading.Event()
        self.addCleanup(ends.set)

        def transfer(_domain: fakedomain.Domain) -> None:
            begun.set()
            ends.wait(base.PATIENCE_SECONDS)

        self.source.transfer = transfer
        self.ask_to_migrate()
        self.assertTrue(begun.wait(base.PATIENCE_SECONDS))
        self.assertLess(self.guest.target_kib, base.MEMORY_KIB)
        # A moment after Nova has begun to wait, its time is over.
        at_seconds = itertools.chain(
            (0, self.waits_seconds - 0.1), itertools.repeat(self.waits_seconds)
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                f'{manager.__name__}.time',
                types.SimpleNamespace(
                    monotonic=lambda: next(at_seconds), time=time.time
                ),
            )
        )
        stopped = self.stop_in_thread()
        self.wait_for(base.MEMORY_KIB, lambda: self.guest.target_kib)
        self.assertFalse(ends.is_set())
        self.assertFalse(self.domain_at(self.source).cancelled.is_set())
        ends.set()
        self.assert_ends(stopped)
        self.see('completed', 'active', 'destination')
        self.assert_whole(self.destination)

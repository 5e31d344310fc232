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

"""Live migrations that fail, are aborted or forced: memory is restored."""

import threading
import time

from nova_freemem import clock
from tests.functional import base
from tests.functional import fakedefinition
from tests.functional import fakedomain


def _fail(domain: fakedomain.Domain) -> None:
    raise fakedefinition.error(
        'VIR_ERR_OPERATION_FAILED',
        'operation failed: job: unexpectedly failed',
    )


class StockFailure(base.LiveMigrationTestCase):
    """What Nova makes of a failed transfer by itself."""

    CONFIGURATION = ''

    def test_connection_to_the_destination_is_refused(self) -> None:
        del self.source.hosts['destination']
        self.ask_to_migrate()
        self.see_it_fail()

    def test_transfer_breaks_off(self) -> None:
        self.source.transfer = _fail
        self.ask_to_migrate()
        self.see_it_fail()

    def test_operator_aborts_the_transfer(self) -> None:
        begun = threading.Event()

        def transfer(domain: fakedomain.Domain) -> None:
            begun.set()
            domain.cancelled.wait(base.PATIENCE_SECONDS)

        self.source.transfer = transfer
        self.ask_to_migrate()
        self.assertTrue(begun.wait(base.PATIENCE_SECONDS))
        self.api.api_delete(self.migration_url())
        self.see_it_fail()

    def see_it_fail(self) -> None:
        """Nova calls it a failure, and the guest is as it was."""
        self.see(*base.FAILED, 'source')
        self.assert_no_allocation_at_the_destination()
        self.assert_whole(self.source)


class Failure(StockFailure):
    """The same with the plugin: Nova calls it the same, nothing is lost."""

    CONFIGURATION = base.ENABLED

    def see_it_fail(self) -> None:
        super().see_it_fail()
        self.assertIn('compute_freemem_release', self.events())
        self.assertLess(self.guest.least_kib, base.MEMORY_KIB)


class ErrorInThePlugin(base.LiveMigrationTestCase):
    """It cannot do its part; the migration goes on as Nova does it."""

    def test_nothing_is_released_without_a_journal_entry(self) -> None:
        self.domain_at(self.source).broken.add('setMetadata')
        self._migrate_in_spite_of_it()
        self.assertEqual(base.MEMORY_KIB, self.guest.least_kib)

    def test_balloon_cannot_be_set(self) -> None:
        self.domain_at(self.source).broken.add('setMemoryFlags')
        self._migrate_in_spite_of_it()

    def test_statistics_cannot_be_read(self) -> None:
        self.domain_at(self.source).broken.add('memoryStats')
        self._migrate_in_spite_of_it()

    def _migrate_in_spite_of_it(self) -> None:
        self.migrate()
        self.assert_whole(self.destination)
        self.assertEqual({'Success'}, set(self.events().values()))


class TransferForever(base.LiveMigrationTestCase):
    """A transfer that ends no sooner than somebody requests it."""

    CLOCK = clock.Clock

    #: How Nova forces a transfer, and what the guest then has.
    FORCED_BY = ('pause', 'what is left')

    def setUp(self) -> None:
        super().setUp()
        self.transfers: list[fakedomain.Domain] = []
        self.source.transfer = self.transfer_forever
        self.source.sends_at_once = False

    def transfer_forever(self, domain: fakedomain.Domain) -> None:
        """Start QEMU at the destination, then send."""
        self.transfers.append(domain)
        time.sleep(1)
        domain.send()
        patience = time.monotonic() + base.PATIENCE_SECONDS
        while not (domain.forced.is_set() or domain.cancelled.is_set()):
            self.assertLess(time.monotonic(), patience)
            time.sleep(0.05)

    def assert_forced_once(self) -> None:
        """Nova forced it, and the guest is whole where it has landed."""
        self.see('completed', 'active', 'destination')
        ((how, memory_kib),) = self.transfers[0].forced_by
        has_all = memory_kib == base.MEMORY_KIB
        self.assertEqual(
            self.FORCED_BY, (how, 'all' if has_all else 'what is left')
        )
        self.assert_whole(self.destination)


class RequestDuringTheRelease(TransferForever):
    """The guest is slow to release, and the operator does not wait."""

    CONFIGURATION = base.ENABLED + 'mode = before\n'

    def setUp(self) -> None:
        super().setUp()
        self.guest.inflate_kib_per_second = base.MEMORY_KIB // 256
        self.ask_to_migrate()
        self.wait_for(True, lambda: self.guest.actual_kib < base.MEMORY_KIB)

    def test_abort_leaves_the_server_where_it_was(self) -> None:
        self.api.api_delete(self.migration_url())
        self.see('cancelled', 'active', 'source')
        self.assertEqual([], self.transfers)
        self.assert_no_allocation_at_the_destination()
        self.assert_whole(self.source)

    def test_force_complete_forces_the_transfer_as_well(self) -> None:
        self.api.api_post(
            f'{self.migration_url()}/action', {'force_complete': None}
        )
        self.assert_forced_once()


class RequestDuringTheReleaseWithPostCopy(RequestDuringTheRelease):
    """Nova forces a transfer by switching it to post-copy."""

    CONFIGURATION = (
        RequestDuringTheRelease.CONFIGURATION
        + '[libvirt]\nlive_migration_permit_post_copy = true\n'
    )
    FORCED_BY = ('post-copy', 'all')


class TimeoutAction(TransferForever):
    """Nova itself switches to post-copy what takes too long."""

    CONFIGURATION = (
        RequestDuringTheReleaseWithPostCopy.CONFIGURATION
        + 'live_migration_completion_timeout = 1\n'
        + 'live_migration_timeout_action = force_complete\n'
    )
    FORCED_BY = RequestDuringTheReleaseWithPostCopy.FORCED_BY

    def test_the_guest_has_its_memory_before_post_copy(self) -> None:
        self.ask_to_migrate()
        self.assert_forced_once()
        self.assertLess(self.guest.least_kib, base.MEMORY_KIB)


class RequestBeforeTheTransferRuns(base.LiveMigrationTestCase):
    """The release is over, and libvirt has no job yet."""

    CONFIGURATION = base.ENABLED

    def setUp(self) -> None:
        super().setUp()
        self.source.transfer = self.transfer

    def transfer(self, domain: fakedomain.Domain) -> None:
        """End no sooner than somebody requests it."""
        if not domain.forced.wait(2):
            domain.cancelled.wait(base.PATIENCE_SECONDS)

    def test_abort_is_not_lost(self) -> None:
        self.source.before_job = lambda domain: self.api.api_delete(
            self.migration_url()
        )
        self.ask_to_migrate()
        self.see(*base.FAILED, 'source')
        self.assertIn('Success', self.abort_results())
        self.assert_no_allocation_at_the_destination()
        self.assert_whole(self.source)

    def abort_results(self) -> list[str]:
        """What the abort came to, in the server's events."""
        return [
            event['result']
            for action in self.api.get_instance_actions(self.server['id'])
            for event in self.api.get_instance_action_details(
                self.server['id'], action['request_id']
            )['events']
            if event['event'] == 'compute_live_migration_abort'
        ]

    def test_force_complete_is_not_lost(self) -> None:
        self.source.before_job = lambda domain: self.api.api_post(
            f'{self.migration_url()}/action', {'force_complete': None}
        )
        domain = self.domain_at(self.source)
        self.migrate()
        self.assertEqual(1, len(domain.forced_by))
        self.assert_whole(self.destination)

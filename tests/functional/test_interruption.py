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


class RequestDuringTheRelease(base.LiveMigrationTestCase):
    """The guest stops half-way, and the operator does not wait for it."""

    CLOCK = clock.Clock
    CONFIGURATION = base.ENABLED + 'mode = before\n'

    #: How Nova forces a transfer.
    FORCED_BY = 'pause'

    def setUp(self) -> None:
        super().setUp()
        self.guest.inflates_down_to_kib = base.MEMORY_KIB // 2
        self.transfers: list[fakedomain.Domain] = []
        self.source.transfer = self.transfer_forever
        self.source.sends_at_once = False
        self.ask_to_migrate()
        self.assertTrue(self.guest.has_stopped.wait(base.PATIENCE_SECONDS))

    def transfer_forever(self, domain: fakedomain.Domain) -> None:
        """End no sooner than it is forced; QEMU starts meanwhile."""
        self.transfers.append(domain)
        time.sleep(1)
        domain.send()
        self.assertTrue(domain.forced.wait(base.PATIENCE_SECONDS))

    def force(self) -> None:
        self.api.api_post(
            f'{self.migration_url()}/action', {'force_complete': None}
        )

    def assert_forced_once(self) -> None:
        ((how, memory_kib),) = self.transfers[0].forced_by
        self.assertEqual(self.FORCED_BY, how)
        self.assert_memory_as_it_was_forced(memory_kib)

    def assert_memory_as_it_was_forced(self, memory_kib: int) -> None:
        """What was released stays released until the guest lands."""
        self.assertLess(memory_kib, base.MEMORY_KIB)

    def test_abort_leaves_the_server_where_it_was(self) -> None:
        self.api.api_delete(self.migration_url())
        self.see('cancelled', 'active', 'source')
        self.assertEqual([], self.transfers)
        self.assert_no_allocation_at_the_destination()
        self.assert_whole(self.source)

    def test_force_complete_forces_the_transfer_as_well(self) -> None:
        self.force()
        self.see('completed', 'active', 'destination')
        self.assert_forced_once()
        self.assert_whole(self.destination)


class RequestDuringTheReleaseWithPostCopy(RequestDuringTheRelease):
    """Nova forces a transfer by switching it to post-copy."""

    CONFIGURATION = (
        RequestDuringTheRelease.CONFIGURATION
        + '[libvirt]\nlive_migration_permit_post_copy = true\n'
    )
    FORCED_BY = 'post-copy'

    def assert_memory_as_it_was_forced(self, memory_kib: int) -> None:
        """In post-copy nobody could restore it."""
        self.assertEqual(base.MEMORY_KIB, memory_kib)


class TimeoutAction(RequestDuringTheReleaseWithPostCopy):
    """Nova itself forces what takes too long; no operator is needed."""

    CONFIGURATION = (
        RequestDuringTheReleaseWithPostCopy.CONFIGURATION
        + 'live_migration_completion_timeout = 1\n'
        + 'live_migration_timeout_action = force_complete\n'
    )

    def force(self) -> None:
        pass


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

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

"""Other services are notified of live migrations, through Nova's notifiers."""

from typing import Any
from unittest import mock

from nova import rpc
import oslo_messaging
from oslo_messaging.notify import _impl_test

from tests.functional import base

RELEASE = ['freemem.release.start', 'freemem.release.end']
RESTORE = ['freemem.restore.start', 'freemem.restore.end']


class CloudThatNotifies(base.LiveMigrationTestCase):
    """Its operator has a driver for notifications, beside the plugin's."""

    CONFIGURATION = base.ENABLED.replace(
        'driver = freemem', 'driver = freemem\ndriver = test'
    )

    def setUp(self) -> None:
        super().setUp()
        # Nova's fixtures replace its notifiers, and the drivers with them.
        for name in ('NOTIFIER', 'LEGACY_NOTIFIER'):
            self.stub_out(
                f'nova.rpc.{name}',
                oslo_messaging.Notifier(
                    rpc.NOTIFICATION_TRANSPORT,
                    serializer=rpc.RequestContextSerializer(
                        rpc.JsonPayloadSerializer()
                    ),
                ),
            )
        _impl_test.reset()
        self.addCleanup(_impl_test.reset)

    def sent(self, publisher: str) -> list[dict[str, Any]]:
        """What a publisher has sent about the plugin, in that order."""
        return [
            message
            for _context, message, _priority, _retry in list(
                _impl_test.NOTIFICATIONS
            )
            if message['publisher_id'] == publisher
            and message['event_type'].startswith('freemem.')
        ]

    def types(self, publisher: str) -> list[str]:
        return [message['event_type'] for message in self.sent(publisher)]

    def test_both_hosts_notify_of_a_migration(self) -> None:
        self.migrate()
        # All hosts are in one process: the name of the last one started.
        for publisher in ('nova-compute:source', 'compute.source'):
            self.assertEqual(RELEASE + RESTORE, self.types(publisher))
        migration = self.migration()['uuid']
        for message in self.sent('compute.source'):
            payload = message['payload']
            self.assertEqual(self.server['id'], payload['uuid'])
            self.assertEqual(migration, payload['migration_uuid'])
            self.assertEqual(self.server['tenant_id'], payload['tenant_id'])
        _, release, _, restore = (
            message['payload'] for message in self.sent('compute.source')
        )
        self.assertEqual('destination', release['dest'])
        self.assertGreater(release['released_kib'], 0)
        self.assertEqual(restore['before_kib'], release['target_kib'])
        self.assertEqual(base.MEMORY_KIB, restore['after_kib'])
        self.assertTrue(restore['complete'])

    def test_a_skip_is_notified_with_its_reason(self) -> None:
        self.guest.touched_kib = 0
        self.migrate()
        (message,) = self.sent('nova-compute:source')
        self.assertEqual('freemem.skip', message['event_type'])
        data = message['payload']['nova_object.data']
        self.assertEqual('not_worthwhile', data['reason'])
        self.assertEqual('destination', data['dest'])

    def test_a_migration_does_not_fail_with_its_notifications(self) -> None:
        patcher = mock.patch.object(
            _impl_test.TestDriver,
            'notify',
            autospec=True,
            side_effect=OSError('no rabbit'),
        )
        patcher.start()
        self.addCleanup(patcher.stop)
        self.migrate()
        self.assert_whole(self.destination)
        self.assertIn('compute_freemem_restore', self.events())


class CloudThatDoesNotNotify(base.LiveMigrationTestCase):
    """Its operator has configured the plugin's driver alone."""

    def test_no_notification_is_made(self) -> None:
        with mock.patch(
            'nova_freemem.report.notifications.Notification', autospec=True
        ) as made:
            self.migrate()
        made.assert_not_called()
        self.assertIn('compute_freemem_restore', self.events())

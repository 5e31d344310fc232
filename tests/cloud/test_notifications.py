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

"""Another service listens to the cloud's notifications on RabbitMQ."""

from typing import Any

from oslo_config import cfg
import oslo_messaging

from tests.cloud import base

_NOTIFYING = """\
[oslo_messaging_notifications]
driver = messagingv2
[notifications]
notification_format = both
"""

_TYPES = [
    'freemem.release.start',
    'freemem.release.end',
    'freemem.restore.start',
    'freemem.restore.end',
]


class _Consumer:
    """Keeps what it is notified of about the plugin.

    :ivar received: type and figures of each notification, by topic.
    """

    def __init__(self) -> None:
        self.received: dict[str, list[tuple[str, dict[str, Any]]]] = {
            'notifications': [],
            'versioned_notifications': [],
        }

    def endpoint(self, topic: str) -> object:
        """Make what oslo.messaging hands the messages of a topic to."""
        received = self.received[topic]

        class Endpoint:
            filter_rule = oslo_messaging.NotificationFilter(
                event_type=r'freemem\.'
            )

            def info(
                self,
                _context: object,
                _publisher: str,
                event_type: str,
                payload: dict[str, Any],
                _metadata: object,
            ) -> None:
                data = payload.get('nova_object.data', payload)
                received.append((event_type, data))

        return Endpoint()


class ServiceThatListens(base.CloudTestCase):
    lines = _NOTIFYING

    def setUp(self) -> None:
        super().setUp()
        self.consumer = _Consumer()
        for topic in self.consumer.received:
            self._listen(topic)

    def _listen(self, topic: str) -> None:
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        transport = oslo_messaging.get_notification_transport(
            conf, url=self.cloud.transport_url
        )
        listener = oslo_messaging.get_notification_listener(
            transport,
            [oslo_messaging.Target(topic=topic, exchange='nova')],
            [self.consumer.endpoint(topic)],
            executor='threading',
        )
        listener.start()
        self.addCleanup(transport.cleanup)
        self.addCleanup(listener.wait)
        self.addCleanup(listener.stop)

    def test_it_is_notified_of_a_migration_in_both_formats(self) -> None:
        server = self.boot_used(memory_mib=768, freed_mib=400)
        migration = self.cloud.migrate(server)
        self.assertEqual('completed', migration.status)
        for topic, received in self.consumer.received.items():
            self.wait_until(
                f'four of {topic}', lambda got=received: len(got) >= 4
            )
            self.assertEqual(_TYPES, [name for name, _ in received])
            release, restore = received[1][1], received[3][1]
            self.assertEqual(server.id, release['uuid'])
            self.assertEqual(
                release['migration_uuid'], restore['migration_uuid']
            )
            self.assertGreater(release['resident_fall_kib'], 200 * 1024)
            self.assertEqual(768 * 1024, restore['after_kib'])

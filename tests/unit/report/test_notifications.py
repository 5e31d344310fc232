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

"""Notifications, as other services of the cloud get them."""

from collections.abc import Callable
import dataclasses
import datetime
import json
import pathlib
import threading
from typing import Any

import jsonschema
from nova import context
from nova import objects
from nova import rpc
from nova.conf import notifications as nova_notifications
from oslo_config import cfg
from oslo_messaging import conffixture
from oslo_messaging.notify import _impl_test

from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Release
from nova_freemem.report import event_queue
from nova_freemem.report import events
from nova_freemem.report import notifications
from nova_freemem.report import reporter as reporters
from nova_freemem.restore.journal import JournalEntry
from nova_freemem.restore.restoration import RestoreResult
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

SAMPLES = pathlib.Path(__file__).parents[3] / 'doc/notification_samples'
SCHEMA = json.loads((SAMPLES / 'freemem.schema.json').read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

UUID = '2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d10'
MIGRATION_UUID = '7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2'
PROJECT = '6f70656e737461636b20342065766572'
NOW = datetime.datetime(2026, 11, 2, 14, 5, 9, 250000, datetime.UTC)

RELEASE = Release(
    EndReason.TARGET_REACHED, 3 * GIB, 2900 * MIB, 1100 * MIB, 1 * GIB, 7.68
)
ENTRY = JournalEntry(4 * GIB, 'compute1', NOW, MIGRATION_UUID, 10)

Message = dict[str, Any]


class NotificationTestCase(base.TestCase):
    """A server on its way from compute1 to compute2."""

    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        for name in ('create', 'event_finish'):
            self.patch_autospec(objects.InstanceActionEvent, name)
        self.clock = fakes.FakeClock()
        self.patch_autospec(threading, 'Thread', side_effect=self.clock.thread)
        self.patch_autospec(self.clock, 'wall', return_value=NOW.timestamp())
        self.queue = event_queue.EventQueue(self.clock)
        self.plan = fakes.make_plan(
            expected_saving_kib=2 * GIB, expected_saving_seconds=17.25
        )

    def reporter(self, host: str = 'compute1') -> reporters.Reporter:
        dest = 'compute2' if host == 'compute1' else None
        return reporters.Reporter(
            events.Events(
                context.RequestContext(is_admin=False),
                objects.Instance(uuid=UUID, project_id=PROJECT),
                host,
                self.queue,
            ),
            dest,
            dest and MIGRATION_UUID,
        )

    def configure(self, notification_format: str, *drivers: str) -> None:
        """Have Nova make its notifiers as nova-compute does at its start."""
        conf = cfg.ConfigOpts()
        nova_notifications.register_opts(conf)
        self.useFixture(conffixture.ConfFixture(conf, transport_url='fake:/'))
        conf([], default_config_files=[], default_config_dirs=[])
        conf.set_override(
            'notification_format', notification_format, 'notifications'
        )
        conf.set_override(
            'driver', list(drivers), 'oslo_messaging_notifications'
        )
        self.patch(rpc, 'create_transport', lambda _url: None)
        for name in (
            'TRANSPORT',
            'NOTIFICATION_TRANSPORT',
            'LEGACY_NOTIFIER',
            'NOTIFIER',
        ):
            self.patch(rpc, name, None)
        self.patch(notifications, 'CONF', conf)
        rpc.init(conf)
        self.addCleanup(_impl_test.reset)

    def emit(
        self, host: str, report: Callable[[reporters.Reporter], None]
    ) -> None:
        report(self.reporter(host))
        self.queue.flush()

    def sent(self) -> list[Message]:
        """:returns: what consumers get, but for what is new each time."""
        names = ('event_type', 'publisher_id', 'priority', 'payload')
        return [
            {name: message[name] for name in names}
            for _context, message, _priority, _retry in (
                _impl_test.NOTIFICATIONS
            )
        ]


def skip(reporter: reporters.Reporter, plan: Any) -> None:
    reporter.skipped(Skip(Reason.NOTHING_FREE, '64 MiB to spare'))


def release(reporter: reporters.Reporter, plan: Any) -> None:
    with reporter.releasing(plan):
        reporter.released(plan, RELEASE)


def restore(reporter: reporters.Reporter, plan: Any) -> None:
    with reporter.restoring(ENTRY):
        reporter.restored(RestoreResult(4 * GIB, 1 * GIB, 4 * GIB, 2.56))


STEPS = (('compute1', release), ('compute2', restore), ('compute1', skip))


class SamplesTest(NotificationTestCase):
    """What the manual shows is what is sent."""

    def all_sent(self, notification_format: str) -> list[Message]:
        self.configure(notification_format, 'test')
        for host, step in STEPS:
            self.emit(
                host, lambda reporter, step=step: step(reporter, self.plan)
            )
        return self.sent()

    def sample(self, message: Message, suffix: str = '') -> Message:
        name = message['event_type'].replace('.', '-') + suffix
        text = (SAMPLES / f'{name}.json').read_text()
        return json.loads(text)

    def test_samples_of_versioned_notifications_are_what_is_sent(self) -> None:
        sent = self.all_sent('versioned')
        self.assertEqual([self.sample(message) for message in sent], sent)
        self.assertEqual(
            SCHEMA['properties']['event_type']['enum'],
            [message['event_type'] for message in sent],
        )

    def test_the_sample_of_a_legacy_notification_is_what_is_sent(self) -> None:
        sent = self.all_sent('unversioned')
        self.assertEqual(5, len(sent))
        self.assertEqual(self.sample(sent[1], '-legacy'), sent[1])

    def test_all_that_is_sent_is_as_the_schema_says(self) -> None:
        VALIDATOR.check_schema(SCHEMA)
        sent = self.all_sent('both')
        self.assertEqual(10, len(sent))
        for message in sent:
            VALIDATOR.validate(message)

    def test_the_schema_refuses_what_is_not_sent(self) -> None:
        for message in self.all_sent('both'):
            data = message['payload'].get(
                'nova_object.data', message['payload']
            )
            for wrong in (
                {**data, 'more': 1},
                {**data, 'at': 'today'},
                {name: data[name] for name in list(data)[1:]},
            ):
                payload = message['payload']
                payload = (
                    {**payload, 'nova_object.data': wrong}
                    if payload is not data
                    else wrong
                )
                self.assertRaises(
                    jsonschema.ValidationError,
                    VALIDATOR.validate,
                    {**message, 'payload': payload},
                )

    def test_each_reason_and_end_is_as_the_schema_says(self) -> None:
        self.configure('versioned', 'test')
        reporter = self.reporter()
        for reason in Reason:
            reporter.skipped(Skip(reason))
        for end in EndReason:
            with reporter.releasing(self.plan):
                reporter.released(
                    self.plan, dataclasses.replace(RELEASE, end=end)
                )
        with reporter.releasing(self.plan):
            pass  # an error, or the guest has left
        self.queue.flush()
        sent = self.sent()
        self.assertEqual(len(Reason) + 2 * len(EndReason) + 2, len(sent))
        for message in sent:
            VALIDATOR.validate(message)


class FormatTest(NotificationTestCase):
    def publishers(self, notification_format: str) -> list[str]:
        self.configure(notification_format, 'test')
        self.emit('compute1', lambda reporter: skip(reporter, self.plan))
        return [message['publisher_id'] for message in self.sent()]

    def test_the_operators_format_is_the_one_that_is_sent(self) -> None:
        versioned, legacy = 'nova-compute:compute1', 'compute.compute1'
        for notification_format, publishers in (
            ('versioned', [versioned]),
            ('unversioned', [legacy]),
            ('both', [versioned, legacy]),
        ):
            _impl_test.reset()
            self.assertEqual(publishers, self.publishers(notification_format))
            self.assertEqual([], self.log_lines('WARNING'))

    def test_nothing_is_made_where_nobody_listens(self) -> None:
        figures = self.patch_autospec(notifications, 'of_skip')
        submit = self.patch_autospec(self.queue, 'submit')
        recorder = self.reporter()._events
        recorder.notify(notifications.SKIP, figures)  # Nova has no notifier
        for drivers in (('noop',), ('noop', 'freemem')):
            self.configure('both', *drivers)
            recorder.notify(notifications.SKIP, figures)
        submit.assert_not_called()
        self.configure('both', 'freemem', 'test')
        recorder.notify(notifications.SKIP, figures)
        submit.assert_called_once()
        figures.assert_not_called()


class BusTest(NotificationTestCase):
    """A bus that does not answer, or refuses."""

    def setUp(self) -> None:
        super().setUp()
        self.configure('versioned', 'test')

    def test_a_migration_waits_for_no_bus(self) -> None:
        def hang(*_args: Any) -> None:
            self.clock.wait(3600)

        self.patch(_impl_test.TestDriver, 'notify', hang)
        began_at = self.clock.now()
        release(self.reporter(), self.plan)
        self.assertEqual(began_at, self.clock.now())
        self.queue.flush()
        self.assertEqual(
            began_at + event_queue.FLUSH_SECONDS, self.clock.now()
        )

    def test_what_is_sent_late_says_when_it_happened(self) -> None:
        self.queue.submit(lambda: self.clock.wait(60))
        release(self.reporter(), self.plan)
        self.clock.wall.return_value += 60
        self.clock.wait(61)
        self.assertEqual(
            ['2026-11-02T14:05:09.250+00:00'] * 2,
            [
                message['payload']['nova_object.data']['at']
                for message in self.sent()
            ],
        )

    def test_a_notifier_that_is_no_more_stops_nobody(self) -> None:
        self.patch_autospec(
            rpc.NOTIFIER, 'is_enabled', side_effect=ZeroDivisionError
        )
        release(self.reporter(), self.plan)
        self.queue.flush()
        self.assertEqual([], self.sent())

    def test_what_cannot_be_sent_stops_nobody(self) -> None:
        notifier = self.patch_autospec(
            rpc, 'get_versioned_notifier', side_effect=OSError('no rabbit')
        )
        release(self.reporter(), self.plan)
        self.queue.flush()
        self.assertEqual([], self.sent())
        for level in ('WARNING', 'ERROR'):
            self.assertEqual([], self.log_lines(level))
        self.assertEqual(2, notifier.call_count)

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

"""What ``server event show`` shows, whatever the message bus does."""

import datetime
import threading
from typing import Any

from nova import context
from nova import exception
from nova import objects
import testtools

from nova_freemem import clock as clocks
from nova_freemem import history as histories
from nova_freemem.report import event_queue
from nova_freemem.report import events
from tests import base
from tests.simulation import fakes

UUID = '2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d10'


class EventsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        self.clock = fakes.FakeClock()
        self.patch_autospec(threading, 'Thread', side_effect=self.clock.thread)
        self.create = self.patch_autospec(
            objects.InstanceActionEvent, 'create', side_effect=self.created
        )
        self.finish = self.patch_autospec(
            objects.InstanceActionEvent,
            'event_finish',
            side_effect=self.finished,
        )
        self.context = context.RequestContext(is_admin=False)
        self.events = events.Events(
            self.context,
            objects.Instance(uuid=UUID),
            'host1',
            event_queue.EventQueue(self.clock),
        )
        self.began = self.time()
        self.bus_seconds = 0.0
        self.shown: dict[str, dict[str, Any]] = {}

    def time(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.clock.wall(), datetime.UTC)

    def created(self, event: Any, uuid: str, request_id: str) -> None:
        self.clock.wait(self.bus_seconds)
        self.assertEqual((UUID, self.context.request_id), (uuid, request_id))
        self.assertEqual('host1', event.host)
        self.shown[event.event] = {
            name: getattr(event, name)
            for name in ('start_time', 'finish_time', 'result')
            if event.obj_attr_is_set(name)
        }

    def finished(
        self, ctxt: Any, uuid: str, name: str, want_result: bool = True
    ) -> None:
        self.clock.wait(self.bus_seconds)
        self.assertEqual((self.context, UUID), (ctxt, uuid))
        if name not in self.shown:
            raise exception.InstanceActionEventNotFound(
                action_id=1, event=name
            )
        self.shown[name]['finish_time'] = self.time()
        self.shown[name]['result'] = 'Success'

    def after(self, seconds: float) -> datetime.datetime:
        return self.began + datetime.timedelta(seconds=seconds)

    def step(self, seconds: float) -> None:
        with self.events.event(events.RELEASE):
            self.clock.wait(seconds)

    def assert_shown(self, start: float, finish: float) -> None:
        """:param start, finish: seconds from the beginning of the test"""
        self.assertEqual(
            {
                events.RELEASE: {
                    'start_time': self.after(start),
                    'finish_time': self.after(finish),
                    'result': 'Success',
                }
            },
            self.shown,
        )

    def test_an_event_is_shown_while_it_lasts(self) -> None:
        self.clock.after(
            3,
            lambda: self.assertEqual(
                {events.RELEASE: {'start_time': self.began}}, self.shown
            ),
        )
        self.step(5)
        self.events.flush()
        self.assert_shown(0, 5)

    def test_an_event_is_a_success_even_around_an_error(self) -> None:
        with (
            testtools.ExpectedException(ZeroDivisionError),
            self.events.event(events.RELEASE),
        ):
            raise ZeroDivisionError
        self.events.flush()
        self.assert_shown(0, 0)

    def test_a_step_waits_for_no_bus(self) -> None:
        self.bus_seconds = 60
        self.step(5)
        self.assertEqual(self.after(5), self.time())

    def test_what_is_told_late_has_the_times_of_the_step(self) -> None:
        self.bus_seconds = 60
        with self.events.event(events.RESTORE):
            pass
        self.step(5)
        self.bus_seconds = 0
        self.clock.wait(200)
        del self.shown[events.RESTORE]
        self.assert_shown(0, 5)
        self.assertEqual(2, self.create.call_count)

    def test_an_end_that_is_told_late_has_the_time_it_was_told(self) -> None:
        self.bus_seconds = 60
        self.step(5)
        self.bus_seconds = 0
        self.clock.wait(200)
        self.assert_shown(0, 60)

    def test_a_start_that_was_lost_is_told_with_the_end(self) -> None:
        self.create.side_effect = TimeoutError('no rabbit')
        self.clock.after(
            3, lambda: setattr(self.create, 'side_effect', self.created)
        )
        self.step(5)
        self.events.flush()
        self.assert_shown(0, 5)

    def test_a_start_that_was_only_believed_lost_is_not_told_twice(
        self,
    ) -> None:
        def answer_is_lost(*args: Any) -> None:
            self.created(*args)
            raise TimeoutError('no rabbit')

        self.create.side_effect = answer_is_lost
        self.step(5)
        self.events.flush()
        self.assert_shown(0, 5)
        self.create.assert_called_once()

    def test_an_event_that_cannot_be_recorded_stops_nobody(self) -> None:
        self.create.side_effect = self.finish.side_effect = OSError(
            'no rabbit'
        )
        self.step(5)
        self.events.flush()
        self.assertEqual({}, self.shown)
        for level in ('WARNING', 'ERROR'):
            self.assertEqual([], self.log_lines(level))


class RequestIdTest(base.TestCase):
    def test_what_cannot_be_recorded_is_logged_with_novas_request(
        self,
    ) -> None:
        objects.register_all()
        for name in ('create', 'event_finish'):
            self.patch_autospec(
                objects.InstanceActionEvent, name, side_effect=OSError('no')
            )
        log = self.useFixture(base.NovaLog())
        queue = event_queue.EventQueue(clocks.Clock())
        requests = [context.RequestContext(is_admin=False) for _ in 'ab']
        for request in requests:
            recorder = events.Events(
                request, objects.Instance(uuid=UUID), 'host1', queue
            )
            with recorder.event(events.RESTORE):
                queue.flush(60)
            queue.flush(60)
        lines = log.lines('Could not record')
        for request, line in zip(
            [requests[0]] * 2 + [requests[1]] * 2, lines, strict=True
        ):
            self.assertIn(f'[None {request.request_id} ', line)


class UnrequestedEventsTest(base.TestCase):
    """A guest is restored, and the request it left in has ended or died."""

    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        self.clock = fakes.FakeClock()
        self.patch_autospec(threading, 'Thread', side_effect=self.clock.thread)
        self.created: list[tuple[Any, str, str]] = []
        self.patch_autospec(
            objects.InstanceActionEvent,
            'create',
            side_effect=lambda *args: self.created.append(args),
        )
        self.actions = self.patch_autospec(
            objects.InstanceActionList, 'get_by_instance_uuid'
        )
        self.have_actions('live-migration')
        self.records: list[histories.Record] = []
        self.queue = event_queue.EventQueue(self.clock)
        self.events = events.UnrequestedEvents(
            'host1', self.queue, self.records.append
        )

    def have_actions(self, *names: str) -> None:
        """Have the server's actions, the last one first."""
        self.actions.return_value = objects.InstanceActionList(
            objects=[
                objects.InstanceAction(action=name, request_id=f'req-{number}')
                for number, name in enumerate(names)
            ]
        )

    def restored(self) -> None:
        self.events.restored(UUID, 5.0)
        self.queue.flush()

    def test_the_live_migration_shows_when_it_was_restored(self) -> None:
        self.restored()
        ((event, uuid, request_id),) = self.created
        self.assertEqual((UUID, 'req-0'), (uuid, request_id))
        self.assertEqual((events.RESTORE, 'host1'), (event.event, event.host))
        self.assertEqual('Success', event.result)
        self.assertTrue(self.records[0].complete)
        self.assertEqual(
            datetime.timedelta(seconds=5), event.finish_time - event.start_time
        )

    def test_what_was_done_since_does_not_show_it(self) -> None:
        self.have_actions('reboot', 'live-migration', 'live-migration')
        self.restored()
        self.assertEqual('req-1', self.created[0][2])
        self.have_actions('reboot', 'create')
        self.restored()
        self.assertEqual(1, len(self.created))

    def test_a_bus_that_is_down_is_not_waited_for_and_it_is_remembered(
        self,
    ) -> None:
        self.actions.side_effect = lambda *_args, **_kwargs: self.fail_late()
        began_at_seconds = self.clock.now()
        self.events.restored(UUID, 40.0)
        self.assertEqual(began_at_seconds, self.clock.now())
        (record,) = self.records
        self.assertEqual(
            (histories.Kind.RESTORE, UUID, False),
            (record.kind, record.server, record.complete),
        )
        self.clock.wait(100)
        self.assertEqual([], self.created)
        self.assertEqual([], self.log_lines('ERROR'))

    def fail_late(self) -> None:
        self.clock.wait(60)
        raise TimeoutError('no rabbit')

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

"""Events of a server's live migration, as ``server event show`` lists them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import datetime
from typing import Any

from nova import context as nova_context
from nova import exception
from nova import objects
from nova.compute import instance_actions
from oslo_log import log as logging

from nova_freemem import clock as clocks
from nova_freemem import history as histories
from nova_freemem.plan.reasons import Skip
from nova_freemem.report import event_queue
from nova_freemem.report import notifications

LOG = logging.getLogger(__name__)

RELEASE = 'compute_freemem_release'
RESTORE = 'compute_freemem_restore'
DRY_RUN = 'compute_freemem_dry_run'
SKIP_PREFIX = 'compute_freemem_skip_'

# What takes longer is counted as slow. Who has a guest restored is told what
# has come of it by then.
IN_TIME_SECONDS = 10.0

# So many of a server's actions are looked through for its live migration.
MOST_ACTIONS = 100

#: Has it kept what became of a migration; returns at once, does not raise.
Keep = Callable[[histories.Record], object]


def skip_event(skip: Skip) -> str:
    """Return the name of a skip's event."""
    return SKIP_PREFIX + skip.name


class Events:
    """Records events of one instance.

    :ivar context: of Nova's request
    :ivar instance: Nova's
    """

    def __init__(
        self,
        context: Any,
        instance: Any,
        host: str,
        queue: event_queue.EventQueue,
        keep: Keep = lambda _record: None,
    ) -> None:
        """Initialize the recorder.

        :param context: of Nova's request
        :param instance: Nova's
        :param host: this host's name
        :param queue: tells Nova of them
        :param keep: told what became of this host's migrations
        """
        self.context = context
        self.instance = instance
        self._host = host
        self._queue = queue
        self._keep = keep

    @contextlib.contextmanager
    def event(self, name: str) -> Iterator[None]:
        """Record a step, as a success in any case.

        An event that ends in an error turns the whole action into one, so
        errors of the plugin are in the log alone.

        :param name: the event's name
        """
        event = Event(
            self.context,
            self.instance.uuid,
            name,
            self._host,
            _time(self._queue.clock),
        )
        self._queue.submit(event.record)
        try:
            yield
        finally:
            event.finish_time = _time(self._queue.clock)
            self._queue.submit(event.record)

    def notify(
        self, event_type: str, figures: Callable[[], notifications.Payload]
    ) -> None:
        """Notify other services, after what was recorded so far.

        :param event_type: one of :mod:`nova_freemem.report.notifications`
        :param figures: makes the part of the payload that depends on it; not
                        called where nobody would get it
        """
        if not notifications.is_anybody_notified():
            return
        self._queue.submit(
            notifications.Notification(
                self.context,
                self.instance,
                self._host,
                event_type,
                _time(self._queue.clock),
                figures,
            ).send
        )

    def remember(self, kind: histories.Kind, **outcome: Any) -> None:
        """Have it kept what became of a migration.

        :param kind: what became of it
        :param outcome: fields of :class:`nova_freemem.history.Record`
        """
        self._keep(
            histories.Record(
                _time(self._queue.clock), kind, self.instance.uuid, **outcome
            )
        )

    def flush(self) -> None:
        """Wait a little until all so far was recorded and notified."""
        self._queue.flush()


class UnrequestedEvents:
    """Records restores that no request of Nova's on this host waits for.

    The source of the migration has died, or the nova-compute here was started
    again; or memory was restored before Nova's own steps after the landing.
    """

    def __init__(
        self,
        host: str,
        queue: event_queue.EventQueue,
        keep: Keep = lambda _record: None,
    ) -> None:
        """Initialize the recorder.

        :param host: this host's name
        :param queue: tells Nova of them
        :param keep: told what became of guests of this host
        """
        self._host = host
        self._queue = queue
        self._keep = keep

    def restored(self, uuid: str, seconds: float) -> None:
        """Record that a guest has all its memory; returns at once.

        :param uuid: the instance's
        :param seconds: how long that took
        """
        finish_time = _time(self._queue.clock)
        self._keep(
            histories.Record(
                finish_time,
                histories.Kind.RESTORE,
                uuid,
                complete=seconds <= IN_TIME_SECONDS,
            )
        )
        start_time = finish_time - datetime.timedelta(seconds=seconds)
        self._queue.submit(lambda: self._record(uuid, start_time, finish_time))

    def _record(
        self,
        uuid: str,
        start_time: datetime.datetime,
        finish_time: datetime.datetime,
    ) -> None:
        """Have the server's last live migration show it; never raise.

        Its request has ended, or has died with its nova-compute. Nova would
        take the last action of any kind for it, which need not be one.
        """
        context = nova_context.get_admin_context()
        try:
            actions = objects.InstanceActionList.get_by_instance_uuid(
                context, uuid, limit=MOST_ACTIONS
            )
        except Exception as error:
            _log_unrecorded(RESTORE, error, uuid)
            return
        for action in actions:  # the last one comes first
            if action.action == instance_actions.LIVE_MIGRATION:
                context.request_id = action.request_id
                event = Event(context, uuid, RESTORE, self._host, start_time)
                event.finish_time = finish_time
                event.record()
                return


def _log_unrecorded(name: str, error: Exception, uuid: str) -> None:
    LOG.debug(
        'Could not record %(name)s: %(error)s',
        {'name': name, 'error': error},
        instance_uuid=uuid,
    )


def _time(clock: clocks.Clock) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC)


class Event:
    """One event, of which Nova is told when it starts and when it ends.

    Nova's ``event_start`` and ``event_finish`` take the time at which the
    conductor runs them, and the bus may be slow. ``create`` takes the times
    it is given, in whole seconds as Nova's database has them, but there is no
    such thing for the end of an event that Nova has been told of: this one
    time may be later than it was.

    :ivar name: what it is called
    :ivar finish_time: when the step ended, None until then
    """

    def __init__(
        self,
        context: Any,
        uuid: str,
        name: str,
        host: str,
        start_time: datetime.datetime,
    ) -> None:
        """Initialize the event of a step that has begun.

        :param context: of Nova's request
        :param uuid: the instance's
        :param name: what it is called
        :param host: this host's name
        :param start_time: when the step began
        """
        self.name = name
        self.finish_time: datetime.datetime | None = None
        self._context = context
        self._uuid = uuid
        self._host = host
        self._start_time = start_time
        self._tried = False
        self._complete = False

    def record(self) -> None:
        """Tell Nova what it has not been told yet; never raise."""
        if self._complete:
            return
        finish_time = self.finish_time
        try:
            self._context.update_store()
            if self._tried:
                self._finish()
            else:
                self._tried = True
                self._create(finish_time)
            self._complete = finish_time is not None
        except Exception as error:
            _log_unrecorded(self.name, error, self._uuid)

    def _create(self, finish_time: datetime.datetime | None) -> None:
        event = objects.InstanceActionEvent(
            context=self._context,
            event=self.name,
            host=self._host,
            start_time=self._start_time,
        )
        if finish_time is not None:
            event.finish_time = finish_time
            event.result = 'Success'
        event.create(self._uuid, self._context.request_id)

    def _finish(self) -> None:
        try:
            objects.InstanceActionEvent.event_finish(
                self._context, self._uuid, self.name, want_result=False
            )
        except exception.InstanceActionEventNotFound:
            self._create(self.finish_time)  # The bus has lost its start.

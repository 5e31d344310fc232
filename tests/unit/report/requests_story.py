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

"""Each thread of the plugin's writes to the log; a process of its own.

On eventlet, as Nova 31 to 33 run it, where that is the argument; eventlet
patches the standard library for good.
"""

import sys

if 'eventlet' in sys.argv:
    import eventlet

    eventlet.monkey_patch()

import contextlib
import datetime
import functools
import logging
import re
import time
from unittest import mock

from nova import context
from nova import objects

from nova_freemem import clock as clocks
from nova_freemem.migrate import readiness
from nova_freemem.migrate import transfer
from nova_freemem.report import event_queue
from nova_freemem.report import events
from nova_freemem.report import notifications
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.virt import host as hosts
from tests import base

UUIDS = [f'2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d1{number}' for number in range(4)]
STUCK_SECONDS = 0.2

KINDS = (
    'transfer',
    'placement',
    'Could not record',
    'Could not send',
    'is stuck',
    'cannot be read',
)

LOG = logging.getLogger('nova_freemem.story')


def say(word):
    """:returns: what says a word, and fails."""

    def fail(*_args, **_kwargs):
        LOG.warning(word)
        raise OSError(word)

    return fail


def tell(queue, requests):
    """Have Nova told of events, and then others; neither can be told."""
    instance = objects.Instance(uuid=UUIDS[0], project_id='project')
    for request in requests:
        with events.Events(request, instance, 'host1', queue).event('it'):
            pass
    for request in requests:
        queue.submit(
            notifications.Notification(
                request,
                instance,
                'host1',
                'freemem.skip',
                datetime.datetime.now(datetime.UTC),
                say('notifying'),
            ).send
        )
    queue.flush(60)


class Guest:
    """A guest whose entry makes no sense.

    One of them tells it once it has been reported to be stuck.
    """

    def __init__(self, log, uuid):
        self._log = log
        self._uuid = uuid

    def read_metadata(self):
        while self._uuid == UUIDS[2] and not any(
            UUIDS[2] in line for line in self._log.lines('is stuck')
        ):
            time.sleep(0.01)
        return 'not XML'


@contextlib.contextmanager
def lend(log):
    """Lend a host with one guest that nobody has asked to restore."""
    host = mock.create_autospec(hosts.Host, instance=True)
    host.journal_entries.return_value = {UUIDS[3]: 'not XML'}
    host.guest.side_effect = functools.partial(Guest, log)
    yield host


def restore(restorer, queue, request, uuid):
    """Have a guest restored after its landing."""
    instance = objects.Instance(uuid=uuid)
    reporter = reporters.Reporter(
        events.Events(request, instance, 'host1', queue)
    )
    restorer.restore(
        uuid, reporter, reporter.restoring, contextlib.nullcontext()
    )


def main():
    """Print, of each kind of line, whose request it shows, in order."""
    objects.register_all()
    log = base.NovaLog()
    log.setUp()
    clock = clocks.Clock()
    queue = event_queue.EventQueue(clock)

    def begin(name):
        return context.RequestContext(is_admin=False, request_id=f'req-{name}')

    begin('transfer')
    watch = transfer.TransferWatch([lambda _ended: LOG.warning('transfer')])
    begin('placement')
    destinations = readiness.Destinations(say('placement'), clock)
    destinations.skip('dest')
    told = [begin('one'), begin('two')]
    landed = [begin('landing'), begin('stuck')]
    begin('other')  # What this thread does next.
    watch.start()
    watch.stop()
    with mock.patch.multiple(
        objects.InstanceActionEvent,
        create=say('event'),
        event_finish=say('event'),
    ):
        tell(queue, told)
    reconciler.STUCK_SECONDS = STUCK_SECONDS
    restorer = reconciler.Reconciler(
        functools.partial(lend, log),
        locks.Locks(clock),
        clock,
        3600,
        len(UUIDS),
    )
    restorer.start()
    for request, uuid in zip(landed, UUIDS[1:3], strict=True):
        restore(restorer, queue, request, uuid)
    while len(log.lines('cannot be read')) < len(landed) + 1:
        time.sleep(0.01)
    restorer.stop()
    for kind in KINDS:
        shown = [
            re.search(r'\[(?:None )?([^] ]+)', line)[1]
            for line in log.lines(kind)
        ]
        print(','.join(shown))


if __name__ == '__main__':
    main()

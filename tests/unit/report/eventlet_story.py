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

"""The queue of events on eventlet, as Nova 31 to 33 run it.

Eventlet patches the standard library for good, so this runs apart from the
tests, in a process of its own.
"""

import eventlet

eventlet.monkey_patch()

import functools  # noqa: E402
import threading  # noqa: E402

from oslo_context import context  # noqa: E402

from nova_freemem import clock as clocks  # noqa: E402
from nova_freemem.report import event_queue  # noqa: E402

BUS_SECONDS = 0.5


def main():
    """Tell of three events over a slow bus, in three requests.

    Prints how long who tells of them had to wait, how long a flush took at
    most, in seconds, the requests of the events in the order they were sent,
    the request of who tells of them, and whether a thread is left.
    """
    clock = clocks.Clock()
    queue = event_queue.EventQueue(clock)
    requests = [
        context.RequestContext(request_id=f'req-{number}')
        for number in range(3)
    ]
    context.RequestContext(request_id='req-own')
    sent = []

    def send(request):
        request.update_store()
        eventlet.sleep(BUS_SECONDS)
        sent.append(context.get_current().request_id)

    started_at = clock.now()
    for request in requests:
        queue.submit(functools.partial(send, request))
    told_seconds = clock.now() - started_at
    queue.flush(BUS_SECONDS / 5)
    flushed_seconds = clock.now() - started_at
    queue.flush(60)
    eventlet.sleep(0.1)
    print(
        told_seconds,
        flushed_seconds,
        ','.join(sent),
        context.get_current().request_id,
        'freemem-events' in [one.name for one in threading.enumerate()],
    )


if __name__ == '__main__':
    main()

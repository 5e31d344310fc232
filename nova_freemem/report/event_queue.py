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

"""Telling Nova of events without waiting for its message bus."""

from __future__ import annotations

import collections
from collections.abc import Callable
import threading

from oslo_log import log as logging

from nova_freemem import clock as clocks

LOG = logging.getLogger(__name__)

# A migration makes four at most, and four more where others are notified.
# While the bus does not answer, each takes up to Nova's rpc_response_timeout,
# a minute by default: more than half a day.
CAPACITY = 1000

# What those who wait for their events wait at most; a healthy bus takes
# milliseconds.
FLUSH_SECONDS = 2.0


class EventQueue:
    """Sends one after another, in the order they came, in one thread.

    The thread is started when there is something to send and ends when there
    is nothing left. It is a daemon: a bus that hangs does not keep
    nova-compute from ending.

    :ivar clock: for all waits
    """

    def __init__(self, clock: clocks.Clock) -> None:
        """Initialize an empty queue.

        :param clock: for all waits
        """
        self.clock = clock
        self._lock = threading.Lock()
        self._waiting: collections.deque[Callable[[], object]] = (
            collections.deque()
        )
        self._running = False
        self._dropping = False

    def submit(self, send: Callable[[], object]) -> None:
        """Have something sent soon; return at once.

        If too many wait, the oldest is dropped: its migration is over, while
        the newest tells what happens now.

        :param send: sends it, and does not raise
        """
        with self._lock:
            is_full = len(self._waiting) >= CAPACITY
            if is_full:
                self._waiting.popleft()
            self._waiting.append(send)
            warn = is_full and not self._dropping
            self._dropping = self._dropping or is_full
            start = not self._running
            self._running = True
        if warn:
            LOG.warning(
                'More than %d events of live migrations wait for the message '
                'bus: the oldest ones are dropped, and "openstack server '
                'event show" will lack them. The log of nova-compute has '
                'what they say.',
                CAPACITY,
            )
        if start:
            self._start()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until everything that was submitted so far is sent.

        :param seconds: how long at most; the rest is sent later
        """
        with self._lock:
            if not self._running:
                return
        sent = threading.Event()
        self.submit(sent.set)
        self.clock.wait(seconds, until=sent)

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, daemon=True, name='freemem-events'
        )
        try:
            thread.start()
        except RuntimeError as error:
            with self._lock:
                self._running = False  # The next one tries again.
            LOG.debug('Could not start a thread for events: %s', error)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = self._dropping = False
                    return
                send = self._waiting.popleft()
            send()

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

"""What runs beside Nova's transfer, each task in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import threading

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.plan.bandwidth import Bandwidths
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.report import request_id
from nova_freemem.virt import guest as guests

# A window short enough to lie within a transfer, long enough to tell what
# the path carries.
WINDOW_SECONDS = 1.0
# Less than this is a transfer that had nothing to send.
LEAST_KIB_PER_SECOND = 1024

Task = Callable[[Requests], None]


class TransferWatch:
    """Runs tasks while a transfer runs, and ends with it."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Initialize the threads.

        :param tasks: each is given the requests in which what is submitted
                      arrives, and ``TRANSFER_ENDED``; it ends with that, and
                      with ``SHUTDOWN``
        """
        self._mailboxes = [Requests() for _task in tasks]
        self._stopped = False
        self._threads = [
            threading.Thread(
                target=request_id.kept(task),
                args=(requests,),
                daemon=True,
                name='freemem-transfer',
            )
            for task, requests in zip(tasks, self._mailboxes, strict=True)
        ]

    def start(self) -> None:
        """Start the tasks."""
        for thread in self._threads:
            thread.start()

    def submit(self, request: Request) -> None:
        """Submit a request to every task, and do not wait.

        :param request: what to do
        """
        for requests in self._mailboxes:
            requests.submit(request)

    def is_unwatched(self) -> bool:
        """Return whether the transfer goes on, and its tasks have ended."""
        return not self._stopped and not any(
            thread.is_alive() for thread in self._threads
        )

    def stop(self) -> None:
        """End the tasks, and wait for that; again changes nothing."""
        self._stopped = True
        self.submit(Request.TRANSFER_ENDED)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()


def learn_bandwidth(
    guest: guests.Guest,
    dest: str,
    bandwidths: Bandwidths,
    clock: clocks.Clock,
    requests: Requests,
) -> None:
    """Learn what the path carried in the best second of a transfer.

    :param guest: the guest that is being transferred
    :param dest: the destination's name
    :param bandwidths: what to teach
    :param clock: for waits
    :param requests: the end of the transfer arrives here, or post-copy, in
                     which QEMU sends what the guest asks for
    """
    best_kib_per_second = 0.0
    before: tuple[float, float] | None = None
    while requests.latest is None:
        clock.wait(WINDOW_SECONDS, until=requests.arrived)
        try:
            sent_kib = guest.transferred_kib()
        except exceptions.LibvirtError:
            break
        now = clock.now()
        if sent_kib is None:
            continue
        if before is not None and now - before[0] >= WINDOW_SECONDS / 2:
            best_kib_per_second = max(
                best_kib_per_second,
                (sent_kib - before[1]) / (now - before[0]),
            )
        before = (now, sent_kib)
    if best_kib_per_second > LEAST_KIB_PER_SECOND:
        bandwidths.learn(dest, best_kib_per_second)

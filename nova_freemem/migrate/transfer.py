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

"""What goes along with a transfer: the watch over it, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import threading

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.virt import guest as guests

# A window short enough to lie within a transfer, long enough to tell what
# the link carries.
RATE_SECONDS = 1.0
# Less than this is a transfer that had nothing to send.
LEAST_RATE_KIB_PER_SECOND = 1024


Task = Callable[[clocks.Requests], None]


class TransferWatch:
    """Runs tasks while a transfer runs, and ends with it."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Get the tasks ready.

        :param tasks: each is given the requests in which
                      ``TRANSFER_ENDED`` arrives, and ends then
        """
        self._mailboxes = [clocks.Requests() for _task in tasks]
        self._threads = [
            threading.Thread(
                target=task,
                args=(requests,),
                daemon=True,
                name='freemem-companion',
            )
            for task, requests in zip(tasks, self._mailboxes, strict=True)
        ]

    def start(self) -> None:
        """Go along."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait for the end; a second time changes nothing."""
        for requests in self._mailboxes:
            requests.give(clocks.Request.TRANSFER_ENDED)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()


def learn_bandwidth(
    domain: guests.Guest,
    dest: str,
    links: bandwidths.Bandwidths,
    clock: clocks.Clock,
    requests: clocks.Requests,
) -> None:
    """Remember what the link carried in its best second.

    :param domain: the guest that is being transferred
    :param dest: the destination's name
    :param links: what to teach
    :param clock: for waits
    :param requests: the end of the transfer arrives here
    """
    best_rate = 0.0
    before: tuple[float, float] | None = None
    while requests.given is None:
        clock.wait(RATE_SECONDS, until=requests.arrived)
        try:
            sent_kib = domain.transferred_kib()
        except exceptions.LibvirtError:
            break
        now = clock.now()
        if sent_kib is None:
            continue
        if before is not None and now - before[0] >= RATE_SECONDS / 2:
            best_rate = max(
                best_rate, (sent_kib - before[1]) / (now - before[0])
            )
        before = (now, sent_kib)
    if best_rate > LEAST_RATE_KIB_PER_SECOND:
        links.remember(dest, best_rate)

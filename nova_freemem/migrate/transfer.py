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
import functools
import threading

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.plan.bandwidth import Bandwidths
from nova_freemem.plan.release_rate import ReleaseRates
from nova_freemem.plan.traffic import Sender
from nova_freemem.plan.transfer_meter import TransferMeter
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.report import request_id
from nova_freemem.virt import guest as guests

# How often the figures of a transfer are read: while it is new, so that one
# that is over in half a second tells as well, and later.
SHORT_WINDOW_SECONDS = 0.1
WINDOW_SECONDS = 1.0
NEW_SECONDS = 5.0

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


def measure(
    guest: guests.Guest,
    dest: str,
    meter: TransferMeter,
    sender: Sender,
    bandwidths: Bandwidths,
    rates: ReleaseRates,
    clock: clocks.Clock,
    requests: Requests,
) -> None:
    """Measure what a transfer tells of its path and of this host, and learn.

    :param guest: the guest that is being transferred
    :param dest: the destination's name
    :param meter: takes in the figures
    :param sender: what others are told of it; ends when nothing more is sent
    :param bandwidths: what to teach of the path
    :param rates: what to teach of the host
    :param clock: for waits
    :param requests: the end of the transfer arrives here, or post-copy, in
                     which QEMU sends what the guest asks for
    """
    _read_until_end(guest, meter, sender, clock, requests)
    now = clock.now()
    sent_beside_kib = functools.partial(
        bandwidths.traffic.sent_beside_kib, sender
    )
    bandwidths.learn(dest, meter.carried(sent_beside_kib), now)
    if meter.look_kib_per_second is not None:
        rates.learn_look(meter.look_kib_per_second, now)


def _read_until_end(
    guest: guests.Guest,
    meter: TransferMeter,
    sender: Sender,
    clock: clocks.Clock,
    requests: Requests,
) -> None:
    has_begun = False
    new_until_seconds = clock.now() + NEW_SECONDS
    while True:
        is_new = clock.now() < new_until_seconds
        clock.wait(
            SHORT_WINDOW_SECONDS if is_new else WINDOW_SECONDS,
            until=requests.arrived,
        )
        request = requests.latest
        if request is Request.TRANSFER_ENDED:
            sender.end(clock.now())
            meter.end(clock.now())
        if request is not None:
            return
        asked_at_seconds = clock.now()
        try:
            progress = guest.transfer_progress()
        except (exceptions.DomainGone, exceptions.OperationInvalid):
            sender.end(clock.now())
            meter.end(clock.now())
            return
        except exceptions.LibvirtError:
            return
        now = clock.now()
        sender.read(now, None if progress is None else progress.sent_kib)
        if progress is None:
            continue
        if progress.sent_kib and not has_begun:
            # It began when memory did: libvirt copies disks before.
            has_begun = True
            new_until_seconds = now + NEW_SECONDS
        meter.add(now, progress, asked_at_seconds)

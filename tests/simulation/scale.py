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

"""A host with many guests, whose reconciler starts.

::

    python -m tests.simulation.scale

has it do so in real threads and in real time, and prints what it takes.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading
import time

from nova_freemem import clock as clocks
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from tests.simulation import fakes
from tests.simulation.fakes import GIB

GUESTS = 500
OUTSTANDING = 60
HUNG = 5
INTERVAL_SECONDS = 60
WORKERS = 4

# How long the host is looked at once nothing is left to do for the guests
# that answer: the guests are listed three times.
IDLE_SECONDS = 3 * INTERVAL_SECONDS
LOOK_SECONDS = 0.05

# Three of the four GiB that a guest has.
MISSING_KIB = 3 * GIB


@dataclasses.dataclass
class Host:
    """The guests of one host.

    :ivar answering: those with outstanding memory whose QEMU answers
    :ivar hung: those with outstanding memory whose QEMU does not
    :ivar answers: set once it does
    :ivar reconciler: the host's
    """

    answering: list[fakes.SimulatedGuest]
    hung: list[fakes.SimulatedGuest]
    answers: threading.Event
    reconciler: reconciler.Reconciler

    @classmethod
    def make(cls, clock: clocks.Clock) -> Host:
        """Make a host whose reconciler has not started.

        Those that hang are the first that it finds.

        :param clock: of guests and reconciler
        """
        guests = [fakes.SimulatedGuest(clock) for _number in range(GUESTS)]
        outstanding, answers = guests[:OUTSTANDING], threading.Event()
        for guest in outstanding:
            _shrink(guest)
        for guest in outstanding[:HUNG]:
            guest.answers = answers
        host = fakes.FakeHost(
            *(
                fakes.FakeGuest(guest, uuid=f'guest {number}')
                for number, guest in enumerate(guests)
            )
        )
        return cls(
            outstanding[HUNG:],
            outstanding[:HUNG],
            answers,
            reconciler.Reconciler(
                host.lend,
                locks.Locks(clock),
                clock,
                INTERVAL_SECONDS,
                WORKERS,
            ),
        )


def _shrink(guest: fakes.SimulatedGuest) -> None:
    """Have memory of a guest outstanding."""
    guest.metadata = journal.JournalEntry(
        guest.memory_kib,
        'other',
        datetime.datetime.now(datetime.UTC),
        'a migration',
        guest.stats_period_seconds,
    ).to_xml()
    guest.actual_kib = guest.target_kib = guest.memory_kib - MISSING_KIB
    guest.definition_kib = guest.target_kib
    guest.touched_kib = 0


def are_whole(guests: list[fakes.SimulatedGuest]) -> bool:
    """:returns: whether nothing is outstanding of any of some guests."""
    return all(
        guest.metadata is None
        and guest.actual_kib == guest.definition_kib == guest.memory_kib
        for guest in guests
    )


def wait_for(guests: list[fakes.SimulatedGuest]) -> None:
    """Wait, in real time, until some guests are whole."""
    while not are_whole(guests):
        time.sleep(LOOK_SECONDS)


class _Clock(clocks.Clock):
    """Real time, in which a guest may hang for ever."""

    def wait(
        self, seconds: float, until: threading.Event | None = None
    ) -> None:
        super().wait(min(seconds, threading.TIMEOUT_MAX), until)


class _CountedThread(threading.Thread):
    """One of the plugin's threads."""

    lock = threading.Lock()
    running = 0
    most = 0

    def run(self) -> None:
        self._count(1)
        try:
            super().run()
        finally:
            self._count(-1)

    @classmethod
    def _count(cls, change: int) -> None:
        with cls.lock:
            cls.running += change
            cls.most = max(cls.most, cls.running)


class _Meter:
    """Reads what the plugin's threads take; this one is left out."""

    def __init__(self) -> None:
        self._began = self._read()

    def _read(self) -> tuple[float, float]:
        return (
            time.monotonic(),
            time.process_time() - time.thread_time(),
        )

    def lap(self) -> tuple[float, float]:
        """:returns: seconds, and those of a processor, since the last lap."""
        now = self._read()
        seconds, cpu_seconds = (
            after - before
            for before, after in zip(self._began, now, strict=True)
        )
        self._began = now
        return seconds, cpu_seconds


def main() -> None:
    """Print what a host with many guests takes."""
    threading.Thread = _CountedThread
    host = Host.make(_Clock())
    meter = _Meter()
    host.reconciler.start()
    wait_for(host.answering)
    print(
        f'{OUTSTANDING} of {GUESTS} guests have outstanding memory, and '
        f'{HUNG} of these do not answer.'
    )
    print(
        'The others are whole after {:.1f} s; {:.2f} s of a processor.'.format(
            *meter.lap()
        )
    )
    print(f'Threads: {_CountedThread.most} at most.')
    time.sleep(IDLE_SECONDS)
    print(
        'The next {:.0f} s: {:.3f} s of a processor; '.format(*meter.lap())
        + f'{_CountedThread.running} threads.'
    )
    host.answers.set()
    wait_for(host.hung)
    print(
        'Once these answer they are whole after {:.1f} s; '
        '{:.3f} s of a processor.'.format(*meter.lap())
    )
    host.reconciler.stop()


if __name__ == '__main__':
    main()

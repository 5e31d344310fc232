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

"""What a guest reads from its disks again while it is watched, in a thread.

Cold page cache is what a guest has not read for a while. Whether it does
without shows when it is gone: its kernel counts what it has to read again.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import threading

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base
from nova_freemem.acquire.free_memory import CacheCounts
from nova_freemem.virt import guest as guests

# An agent notes in the guest's log which files it opens. So a guest is asked
# each second at first, and less often the longer it has done without.
LEAST_SECONDS = 1.0
ELAPSED_SHARE = 0.1
MOST_SECONDS = 30.0


class Rereading:
    """One guest, asked now and then through the source of its plan.

    :ivar kib: what it has missed and read again since it was first asked;
               None where it has not answered yet, or does not report it
    """

    def __init__(
        self,
        source: base.Source,
        guest: guests.Guest,
        clock: clocks.Clock,
        dropped_kib: Callable[[], int],
    ) -> None:
        """Initialize it; the guest is asked for nothing yet.

        :param source: asks the guest
        :param guest: the guest
        :param clock: for all waits
        :param dropped_kib: tells what the guest has dropped as it was asked
                            to; nothing, as this begins
        """
        self._source = source
        self._guest = guest
        self._clock = clock
        self._dropped_kib = dropped_kib
        self._stopped = threading.Event()
        self.kib: int | None = None

    def start(self) -> None:
        """Begin, in a thread, and do not wait."""
        # Without a thread to be had it is not known, as without an agent.
        with contextlib.suppress(RuntimeError):
            threading.Thread(
                target=self._run, name='freemem-reread', daemon=True
            ).start()

    def stop(self) -> None:
        """Ask no more, and do not wait for an answer."""
        self._stopped.set()

    def _run(self) -> None:
        began_at_seconds = self._clock.now()
        first: CacheCounts | None = None
        # Whatever a source raises, which may be an extension: it is not known.
        with contextlib.suppress(Exception):
            while not self._stopped.is_set():
                counts, pause_seconds = None, MOST_SECONDS
                # One that is too busy to answer may do so later.
                with contextlib.suppress(exceptions.AgentUnresponsive):
                    counts = self._ask()
                    pause_seconds = _pause_seconds(
                        self._clock.now() - began_at_seconds
                    )
                if counts is not None:
                    first = first or counts
                    self.kib = counts.missed_since(first, self._dropped_kib())
                self._clock.wait(pause_seconds, until=self._stopped)

    def _ask(self) -> CacheCounts | None:
        return self._source.cache_counts(
            self._guest,
            self._clock,
            clocks.Deadline(self._clock, self._source.timeout_seconds),
        )


def _pause_seconds(elapsed_seconds: float) -> float:
    pause_seconds = max(LEAST_SECONDS, ELAPSED_SHARE * elapsed_seconds)
    return min(pause_seconds, MOST_SECONDS)

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

"""A guest that drops its cold page cache, portion by portion, in a thread.

An agent that does not answer keeps this thread, and not the watch of the
guest.
"""

from __future__ import annotations

import threading

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.plan.planner import Plan
from nova_freemem.release import base
from nova_freemem.release import reclaim_rules
from nova_freemem.virt import guest as guests

# What has not been dropped by then, the balloon takes.
MOST_SECONDS = 600.0

# A guest that nobody has looked at for so long drops nothing: its watch looks
# five times a second, but for the moment in which the transfer begins.
WATCHED_SECONDS = 1.0

# While the balloon catches up.
PAUSE_SECONDS = 0.1


class Dropping:
    """One guest, asked for one portion after the other.

    :ivar dropped_kib: what it has dropped
    :ivar problem: why it was stopped early, '' where it was not
    """

    def __init__(
        self,
        reclaimer: base.Reclaimer,
        guest: guests.Guest,
        plan: Plan,
        clock: clocks.Clock,
    ) -> None:
        """Initialize it; the guest is asked for nothing yet.

        :param reclaimer: asks the guest
        :param guest: the guest
        :param plan: what is to be released of it
        :param clock: for all waits
        """
        self._reclaimer = reclaimer
        self._guest = guest
        self._plan = plan
        self._clock = clock
        self._began_at_seconds = self._looked_at_seconds = clock.now()
        self._fall_kib = 0
        self._dropping_seconds = 0.0
        self._done_at_seconds = self._began_at_seconds
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self.dropped_kib = 0
        self.problem = ''

    def start(self) -> None:
        """Begin, in a thread, and do not wait."""
        try:
            threading.Thread(
                target=self._run, name='freemem-reclaim', daemon=True
            ).start()
        except RuntimeError as error:
            self.problem = str(error)
            self._ended.set()

    def stop(self) -> None:
        """Ask for no further portion, and do not wait for the last one."""
        self._stopped.set()

    def look(self, fall_kib: int) -> bool:
        """Tell that somebody watches the guest.

        :param fall_kib: by how much its resident size has fallen since it was
                         asked to begin
        :returns: whether its balloon is to begin, if it has not
        """
        now_seconds = self._clock.now()
        self._fall_kib = fall_kib
        self._looked_at_seconds = now_seconds
        return self._ended.is_set() or reclaim_rules.balloon_begins(
            self._plan,
            self.dropped_kib,
            self._done_at_seconds - self._began_at_seconds,
            now_seconds - self._done_at_seconds,
            fall_kib,
        )

    def _run(self) -> None:
        try:
            with self._reclaimer.dropping(
                self._guest,
                self._plan,
                self._clock,
                clocks.Deadline(self._clock, MOST_SECONDS),
            ) as drop:
                while not self._is_over():
                    portion_kib = self._portion_kib()
                    if not portion_kib:
                        self._clock.wait(PAUSE_SECONDS, until=self._stopped)
                        continue
                    asked_at_seconds = self._clock.now()
                    dropped_kib = drop(portion_kib)
                    self._done_at_seconds = self._clock.now()
                    self._dropping_seconds += (
                        self._done_at_seconds - asked_at_seconds
                    )
                    self.dropped_kib = min(
                        self._plan.cold_kib, self.dropped_kib + dropped_kib
                    )
        except exceptions.FreememError as error:
            self.problem = str(error)
        except Exception as error:
            # An extension's: the balloon does without.
            self.problem = repr(error)
        finally:
            self._ended.set()

    def _is_over(self) -> bool:
        return (
            self._stopped.is_set()
            or self._clock.now() - self._began_at_seconds >= MOST_SECONDS
            or reclaim_rules.is_over(
                self._plan, self.dropped_kib, self._dropping_seconds
            )
        )

    def _portion_kib(self) -> int:
        if self._clock.now() - self._looked_at_seconds > WATCHED_SECONDS:
            return 0
        return reclaim_rules.portion_kib(
            self._plan,
            self.dropped_kib,
            self._dropping_seconds,
            self._fall_kib,
        )

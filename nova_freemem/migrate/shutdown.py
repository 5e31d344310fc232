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

"""What is done for guests that are being migrated when nova-compute stops.

Nova asks for it when it waits no longer for the migrations under way: 31 to
33 at once, 34 after ``manager_shutdown_timeout`` less twenty seconds. From
then on the process may end at any moment, and nobody watches a guest, or
restores it, until nova-compute starts again.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import threading

from oslo_log import log as logging

from nova_freemem import clock as clocks

LOG = logging.getLogger(__name__)

# Nova 34 reserves 20 s for its driver and its thread pools. Earlier ones exit
# 60 s after the signal, whatever they are doing then.
WAIT_SECONDS = 15.0
POLL_SECONDS = 0.05


class Step:
    """What is under way for one guest: a migration, or a landing."""

    def shut_down(self) -> None:
        """Bring it to an end soon, and do not wait; called once."""

    def is_settled(self) -> bool:
        """Return whether it goes on, and the guest needs nobody any more."""
        return False


class Shutdown:
    """The shutdown of nova-compute, and all that is under way until then."""

    def __init__(self, clock: clocks.Clock) -> None:
        """Initialize it, with nothing under way.

        :param clock: for the wait
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._steps: set[Step] = set()
        self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """Whether nova-compute is stopping, and nothing is to be released."""
        return self._has_begun

    @contextlib.contextmanager
    def during(self, step: Step) -> Iterator[None]:
        """Have a step brought to an end by the shutdown.

        :param step: what is under way in this context
        """
        with self._lock:
            self._steps.add(step)
            has_begun = self._has_begun
        try:
            if has_begun:
                step.shut_down()
            yield
        finally:
            with self._lock:
                self._steps.remove(step)

    def run(self) -> None:
        """Bring all that is under way to an end, and wait a while for it."""
        with self._lock:
            self._has_begun = True
            steps = set(self._steps)
        for step in steps:
            step.shut_down()
        deadline = clocks.Deadline(self._clock, WAIT_SECONDS)
        while self._unsettled():
            if deadline.passed():
                LOG.warning(
                    'nova-compute is stopping, and %d guests that are being '
                    'migrated do not have all their memory yet. What is '
                    'outstanding is restored by nova-compute of the host '
                    'where they are then, as soon as it runs.',
                    self._unsettled(),
                )
                return
            self._clock.wait(POLL_SECONDS)

    def _unsettled(self) -> int:
        with self._lock:
            steps = list(self._steps)
        return sum(not step.is_settled() for step in steps)

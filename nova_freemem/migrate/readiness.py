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

"""Whether a destination restores memory, as Placement knows it.

A destination that does says so by a trait of its resource provider, which
its nova-compute reports when it starts and from then on.
"""

from __future__ import annotations

from concurrent import futures
import threading

from nova_freemem import clock as clocks
from nova_freemem import trait
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.report import request_id
from nova_freemem.virt import validation

# A warm connection to Placement answers in some tens of milliseconds, a new
# one with a new token in some hundreds.
WAIT_SECONDS = 1.0

KEEP_SECONDS = 300.0


class Destinations:
    """What is known of the hosts that guests migrate to.

    Only that a destination is ready is remembered: one that has just been
    started with the plugin is ready at once.
    """

    def __init__(
        self,
        get: trait.Get,
        clock: clocks.Clock,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """Initialize, with nothing known.

        :param get: reads from Placement, as Nova does
        :param clock: tells when what is known is too old
        :param wait_seconds: longest wait for Placement
        """
        self._get = get
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._ready_until_seconds: dict[str, float] = {}
        self._asked: dict[str, futures.Future[bool]] = {}

    def skip(self, node: str) -> Skip | None:
        """Return why nothing is to be released for a destination.

        :param node: the name of its resource provider
        :returns: None if it restores memory. Where that is not known within
                  the wait, it counts as not ready; the answer is still made
                  use of when it comes
        """
        try:
            asked = self._ask(node)
            is_ready = asked is None or asked.result(self._wait_seconds)
        except futures.TimeoutError:
            return _not_ready(
                f'Placement did not answer within {self._wait_seconds:g} s'
            )
        except Exception as error:
            return _not_ready(
                f'Placement could not be asked: {validation.quoted(error)}'
            )
        if is_ready:
            return None
        return _not_ready(f'{node} has no trait {trait.TRAIT} in Placement')

    def _ask(self, node: str) -> futures.Future[bool] | None:
        """Have Placement asked, unless it is being asked or need not be.

        :returns: the answer to come; None where the destination is ready
        """
        with self._lock:
            until_seconds = self._ready_until_seconds.get(node, 0.0)
            if self._clock.now() < until_seconds:
                return None
            if node not in self._asked:
                answer: futures.Future[bool] = futures.Future()
                # Nobody waits for it to end: Nova sets no timeout for
                # Placement.
                threading.Thread(
                    target=request_id.kept(self._look_up),
                    args=(node, answer),
                    daemon=True,
                    name='freemem-placement',
                ).start()
                self._asked[node] = answer
            return self._asked[node]

    def _look_up(self, node: str, answer: futures.Future[bool]) -> None:
        try:
            is_ready = trait.is_reported(self._get, node)
        except Exception as error:
            self._forget(node)
            answer.set_exception(error)
            return
        if is_ready:
            self._remember(node)
        self._forget(node)
        answer.set_result(is_ready)

    def _remember(self, node: str) -> None:
        now_seconds = self._clock.now()
        with self._lock:
            self._ready_until_seconds = {
                one: until_seconds
                for one, until_seconds in self._ready_until_seconds.items()
                if now_seconds < until_seconds
            } | {node: now_seconds + KEEP_SECONDS}

    def _forget(self, node: str) -> None:
        with self._lock:
            self._asked.pop(node, None)


def _not_ready(detail: str) -> Skip:
    return Skip(Reason.DESTINATION_NOT_READY, detail)

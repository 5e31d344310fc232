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

"""What can be asked of a migration before and while memory is out."""

from __future__ import annotations

import enum
import threading


class Request(enum.Enum):
    """What a migration, or a watch of it, is asked to do."""

    ABORT = 'abort'
    FORCE_COMPLETE = 'force-complete'
    POST_COPY = 'post-copy begins'
    TRANSFER_ENDED = 'transfer ended'
    SHUTDOWN = 'nova-compute is stopping'


# What counts of several requests: the operator's abort is always obeyed, and
# a guest that nobody will watch any more is not released further.
_RANKS = {
    Request.FORCE_COMPLETE: 0,
    Request.POST_COPY: 0,
    Request.TRANSFER_ENDED: 0,
    Request.SHUTDOWN: 1,
    Request.ABORT: 2,
}


class Requests:
    """The mailbox between whoever asks and what is under way.

    :ivar latest: the request that counts, None before the first
    :ivar arrived: set once there is one
    """

    def __init__(self) -> None:
        """Initialize it open and empty."""
        self._lock = threading.Lock()
        self._open = True
        self.latest: Request | None = None
        self.arrived = threading.Event()

    def submit(self, request: Request) -> bool:
        """Submit a request.

        An abort outranks the others, and a shutdown those but the abort.

        :param request: what to do
        :returns: whether it was accepted; False once the mailbox is closed,
                  and the request is for the transfer
        """
        with self._lock:
            if not self._open:
                return False
            if self.latest is None or _RANKS[request] >= _RANKS[self.latest]:
                self.latest = request
            self.arrived.set()
            return True

    def close(self) -> Request | None:
        """Accept no more requests.

        :returns: the request that counts, if there was one; None once it is
                  closed: it has been taken
        """
        with self._lock:
            taken = self.latest if self._open else None
            self._open = False
            return taken

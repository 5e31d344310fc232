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

"""What the operator requests of a migration, handed over to Nova in time.

Nova's transfer can be aborted from the moment libvirt shows its job: before,
libvirt answers that no job is active; from then on it keeps an abort in mind
until QEMU is to send (qemuMigrationSrcRun() in src/qemu/qemu_migration.c). It
can be forced to complete from the moment something is sent: before, QEMU
refuses to switch to post-copy, and Nova does not try again; and a guest that
is paused before libvirt looks at it stays paused where it lands
(qemuMigrationSrcPerformPeer2Peer3()). A request that comes earlier is held
until then.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools

from nova_freemem import clock as clocks
from nova_freemem.migrate import transfer
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.report import reporter as reporters
from nova_freemem.virt.guest import Outgoing

# Nova itself looks twice a second whether the transfer was forced.
POLL_SECONDS = 0.2


def is_due(
    request: Request | None, outgoing: Outgoing, post_copy: bool
) -> bool:
    """Return whether Nova's transfer can take a request, or any.

    :param request: what is held; None for nothing
    :param outgoing: how far the transfer is
    :param post_copy: whether forcing it switches to post-copy, which cannot
                      begin while disks are copied; else the guest is paused
    :returns: whether it can
    """
    if request is Request.ABORT:
        return outgoing is not Outgoing.NONE
    return outgoing is Outgoing.SENDING_MEMORY or (
        outgoing is Outgoing.COPYING_DISKS and not post_copy
    )


class Handover:
    """What is requested of one migration, from its first moment on.

    Each request that is accepted has one effect: it ends the release, and is
    handed over to Nova's transfer, unless the release was the end of it.

    :ivar requests: where requests arrive until Nova's transfer can take them
    :ivar post_copy: whether forcing it switches to post-copy
    """

    def __init__(
        self,
        post_copy: bool,
        reporter: reporters.Reporter,
        clock: clocks.Clock,
    ) -> None:
        """Initialize the handover, with nothing requested.

        :param post_copy: whether forcing it switches to post-copy
        :param reporter: reports what could not be handed over
        :param clock: for waits
        """
        self.requests = Requests()
        self.post_copy = post_copy
        self._reporter = reporter
        self._clock = clock
        self._actions: dict[Request, Callable[[], None]] = {}
        self._held: Request | None = None

    def submit(self, request: Request, action: Callable[[], None]) -> None:
        """Submit a request of the operator, or of Nova itself.

        :param request: what to do
        :param action: requests it of Nova's transfer
        :raises: what the action raises, if the transfer runs
        """
        self._actions[request] = action
        if not self.requests.submit(request):
            action()

    @contextlib.contextmanager
    def during_transfer(
        self, outgoing: Callable[[], Outgoing]
    ) -> Iterator[None]:
        """Hand over, while Nova transfers the guest, what is held.

        :param outgoing: returns how far the transfer is; raises nothing
        """
        watch = transfer.TransferWatch(
            [functools.partial(self._hand_over, outgoing)]
        )
        try:
            watch.start()
        except RuntimeError as error:
            self._reporter.error('Starting a thread', error)
            self._held = self._take()
        has_failed = False
        try:
            yield
        except BaseException:
            has_failed = True
            raise
        finally:
            watch.stop()
            held = self._held or self._take()
            if held is Request.ABORT and has_failed:
                # Nova requests this itself where its own watch of the transfer
                # fails: the guest must not move while Nova rolls back.
                self._is_taken(held)
            elif held is not None:
                self._reporter.request_too_late(held)

    def _hand_over(
        self, outgoing: Callable[[], Outgoing], ended: Requests
    ) -> None:
        while not is_due(self.requests.latest, outgoing(), self.post_copy):
            if ended.latest is not None:
                return
            self._clock.wait(POLL_SECONDS, until=ended.arrived)
        self._held = self._take()
        while self._held is not None and not self._is_taken(self._held):
            if ended.latest is not None:
                return
            self._clock.wait(POLL_SECONDS, until=ended.arrived)
        self._held = None

    def _take(self) -> Request | None:
        """Close the mailbox, and return what is to be requested of Nova.

        That nova-compute is stopping is no request of Nova's transfer.
        """
        request = self.requests.close()
        return request if request in self._actions else None

    def _is_taken(self, request: Request) -> bool:
        """Request it of Nova, whose errors are tried again, not reported."""
        try:
            self._actions[request]()
        except Exception:
            return False
        return True

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

"""A guest's migration from one host to the other, with its moments."""

import contextlib
import threading
import time

import libvirt

from tests.bench import base
from tests.bench.reserve import Reserve
from tests.lab import host as lab_host
from tests.lab import observer
from tests.lab import steps
from tests.lab import virt

_LANDING_SECONDS = 5.0
_MEMORY_SECONDS = 0.05
# The plugin itself would not be waited for any longer.
_BACK_SECONDS = 60.0


class Migration:
    """One guest's migration, as it happens.

    It is observed at the destination alone, and nobody looks before it lands:
    that would take some of the guest's time, and of the method's.

    :param domain: the guest, at the source.
    :param source: the host it is on.
    :param destination: the host it goes to.
    :param memory_kib: what it has, and is to have again.
    :param reserve: what the destination is to have at hand.
    :param patience_seconds: after which a transfer that has not ended is
        aborted; Nova's default for each GiB of a guest.
    :ivar ended_at: when the migration ended, with the landing or with
        libvirt's job, as the method has it.
    :ivar cpu_seconds: processor time of this process, up to the landing.
    :ivar back_seconds: from the landing to all memory being restored; None:
        never.
    """

    def __init__(
        self,
        domain: libvirt.virDomain,
        source: lab_host.Host,
        destination: lab_host.Host,
        memory_kib: int,
        reserve: Reserve,
        patience_seconds: float = 800.0,
    ) -> None:
        """Initialize a migration that has not been asked for yet."""
        self.domain = domain
        self.source = source
        self.destination = destination
        self.transferred: virt.Migration | None = None
        self.asked_at = 0.0
        self.transfer_at = 0.0
        self.landed_at = 0.0
        self.ended_at = 0.0
        self.memory_kib = memory_kib
        self.cpu_seconds = 0.0
        self.back_seconds: float | None = None
        self._cpu_before = 0.0
        self._reserve = reserve
        self._patience_seconds = patience_seconds
        self._observer = observer.Observer(
            domain.UUIDString(),
            {'destination': destination},
            state_seconds=None,
            memory_seconds=_MEMORY_SECONDS,
            read=(observer.memory,),
        )

    def run(self, method: base.Method) -> None:
        """Migrate the guest, and take note of the moments.

        :raises LabError: the guest does not run at the destination.
        """
        landing = threading.Thread(target=self._land, args=(method,))
        with self._observer:
            self._cpu_before = time.process_time()
            self.asked_at = time.monotonic()
            landing.start()
            method.at_source(self)
            job_ended_at = time.monotonic()
            # libvirt tells of a landing before it ends the migration. One
            # whose event is missed counts from now.
            self._observer.look_at_state('destination')
            if not self._observer.wait_landed(_LANDING_SECONDS):
                why = 'it does not run at the destination'
                raise steps.LabError('wait for the landing', why)
            landing.join()
            self.ended_at = (
                job_ended_at if method.ends_with_job else self.landed_at
            )
            method.at_destination(self)
            self._wait_for_memory()

    def transfer(self, way: virt.Way | None = None) -> None:
        """Have libvirt transfer the guest, and wait for the end of it.

        :param way: what libvirt is asked for besides.
        :raises Unable: it takes so long that it seems never to end.
        """
        self._reserve.leave()
        self.transfer_at = time.monotonic()
        abort = threading.Timer(self._patience_seconds, self._abort)
        abort.start()
        try:
            self.transferred = virt.migrate(self.domain, self.destination, way)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED:
                raise base.Unable(
                    'its transfer has not ended after'
                    f' {self._patience_seconds:.0f} s'
                ) from error
            raise
        finally:
            abort.cancel()

    def _abort(self) -> None:
        # It may have ended just now, or be past the point of no return.
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.abortJob()

    def arrived(self) -> libvirt.virDomain:
        """Find the guest at the destination."""
        uuid = self.domain.UUIDString()
        return self.destination.libvirt().lookupByUUIDString(uuid)

    def _land(self, method: base.Method) -> None:
        """Do what a method does upon a landing, if there is one."""
        landed_at = self._observer.wait_landed()
        if landed_at is None:
            return
        self.cpu_seconds = time.process_time() - self._cpu_before
        self.landed_at = landed_at
        method.landed(self)

    def _wait_for_memory(self) -> None:
        """Wait until the guest has all its memory."""
        self._observer.wait_for(
            lambda view: (
                (view.destination.balloon_kib or 0) >= self.memory_kib
            ),
            self.landed_at + _BACK_SECONDS - time.monotonic(),
        )
        back_at = self._observer.observation().restored(self.memory_kib)
        if back_at is not None:
            self.back_seconds = back_at - self.landed_at

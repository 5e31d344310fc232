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

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import libvirt

from tests.bench.reserve import Reserve
from tests.lab import host as lab_host
from tests.lab import observer
from tests.lab import steps
from tests.lab import virt

if TYPE_CHECKING:
    from tests.bench.methods import Method

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
    ) -> None:
        """Initialize a migration that has not been asked for yet."""
        self.domain = domain
        self.source = source
        self.destination = destination
        self.transferred: virt.Migration | None = None
        self.asked_at = 0.0
        self.transfer_at = 0.0
        self.landed_at = 0.0
        self.cpu_seconds = 0.0
        self.back_seconds: float | None = None
        self._cpu_before = 0.0
        self._memory_kib = memory_kib
        self._reserve = reserve
        self._observer = observer.Observer(
            domain.UUIDString(),
            {'destination': destination},
            state_seconds=None,
            memory_seconds=_MEMORY_SECONDS,
            read=(observer.memory,),
        )

    def run(self, method: Method) -> None:
        """Migrate the guest, and take note of the moments.

        :raises LabError: the guest does not run at the destination.
        """
        landing = threading.Thread(target=self._land, args=(method,))
        with self._observer:
            self._cpu_before = time.process_time()
            self.asked_at = time.monotonic()
            landing.start()
            method.at_source(self)
            # libvirt tells of a landing before it ends the migration. One
            # whose event is missed counts from now.
            self._observer.look_at_state('destination')
            if not self._observer.wait_landed(_LANDING_SECONDS):
                why = 'it does not run at the destination'
                raise steps.LabError('wait for the landing', why)
            landing.join()
            method.at_destination(self)
            self._wait_for_memory()

    def transfer(self) -> None:
        """Have libvirt transfer the guest, and wait for the end of it."""
        self._reserve.leave()
        self.transfer_at = time.monotonic()
        self.transferred = virt.migrate(self.domain, self.destination)

    def arrived(self) -> libvirt.virDomain:
        """Find the guest at the destination."""
        uuid = self.domain.UUIDString()
        return self.destination.libvirt().lookupByUUIDString(uuid)

    def _land(self, method: Method) -> None:
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
                (view.destination.balloon_kib or 0) >= self._memory_kib
            ),
            self.landed_at + _BACK_SECONDS - time.monotonic(),
        )
        back_at = self._observer.observation().restored(self._memory_kib)
        if back_at is not None:
            self.back_seconds = back_at - self.landed_at

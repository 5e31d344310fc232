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

"""A guest's way from one host to the other, with its moments."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import libvirt

from tests.bench import events
from tests.bench.reserve import Reserve
from tests.lab import host as lab_host
from tests.lab import steps
from tests.lab import virt

if TYPE_CHECKING:
    from tests.bench.methods import Method

# libvirt tells of a landing before it ends the migration.
_EVENT_SECONDS = 5.0
# The plugin itself would not be waited for any longer.
_BACK_SECONDS = 60.0
_LOOK_SECONDS = 0.05


class Crossing:
    """One guest's migration, as it happens.

    :param domain: the guest, at the source.
    :param source: the host it is on.
    :param destination: the host it goes to.
    :param memory_kib: what it has, and is to have again.
    :param reserve: what the destination is to have at hand.
    """

    def __init__(
        self,
        domain: libvirt.virDomain,
        source: lab_host.Host,
        destination: lab_host.Host,
        memory_kib: int,
        reserve: Reserve,
    ) -> None:
        self.domain = domain
        self.source = source
        self.destination = destination
        self.migration: virt.Migration | None = None
        self.asked_at = 0.0
        self.transfer_at = 0.0
        self.landed_at = 0.0
        self.back_at: float | None = None
        self.cpu_seconds = 0.0
        self._cpu_before = 0.0
        self._memory_kib = memory_kib
        self._reserve = reserve
        self._landed = threading.Event()
        self._threads: list[threading.Thread] = []

    def cross(self, method: Method) -> None:
        """Migrate the guest, and take note of the moments.

        :raises LabError: libvirt told of no landing.
        """
        landed = threading.Thread(target=method.landed, args=(self,))
        back = threading.Thread(target=self._see_memory_back)
        self._threads = [landed, back]
        uuid = self.domain.UUIDString()
        with events.resumed(uuid, self.destination, self._note_landing):
            self._cpu_before = time.process_time()
            self.asked_at = time.monotonic()
            method.depart(self)
            if not self._landed.wait(_EVENT_SECONDS):
                why = 'libvirt told of none'
                raise steps.LabError('wait for the landing', why)
        landed.join()
        method.arrive(self)
        back.join()

    def transfer(self) -> None:
        """Have libvirt transfer the guest, and wait for the end of it."""
        self._reserve.leave()
        self.transfer_at = time.monotonic()
        self.migration = virt.migrate(self.domain, self.destination)

    def arrived(self) -> libvirt.virDomain:
        """Find the guest at the destination."""
        uuid = self.domain.UUIDString()
        return self.destination.libvirt().lookupByUUIDString(uuid)

    def _note_landing(self) -> None:
        if self._landed.is_set():
            return
        self.landed_at = time.monotonic()
        self.cpu_seconds = time.process_time() - self._cpu_before
        for thread in self._threads:
            thread.start()
        self._landed.set()

    def _see_memory_back(self) -> None:
        """Look at the balloon until the guest has all its memory."""
        domain = self.arrived()
        while time.monotonic() < self.landed_at + _BACK_SECONDS:
            # Waits, where libvirt is still busy with the migration.
            with contextlib.suppress(libvirt.libvirtError):
                if domain.memoryStats()['actual'] >= self._memory_kib:
                    self.back_at = time.monotonic()
                    return
            time.sleep(_LOOK_SECONDS)

    @property
    def back_seconds(self) -> float | None:
        """From the landing to all memory being back; None: never."""
        return None if self.back_at is None else self.back_at - self.landed_at

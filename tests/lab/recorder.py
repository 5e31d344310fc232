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

"""Watches a migrating guest from outside, on both of its hosts.

One thread a host, a few cheap calls each quarter of a second: emulated
guests share the machine's processors with whoever looks at them.
"""

from collections.abc import Callable
import dataclasses
import threading
import time
import types
from typing import Self

import libvirt

from tests.lab import host as lab_host
from tests.lab.recording import Recording
from tests.lab.recording import Sample

INTERVAL_SECONDS = 0.25


def look(
    connection: libvirt.virConnect, uuid: str, link_bytes: Callable[[], int]
) -> Sample:
    """Look at a guest on one host.

    :param connection: the host's libvirt.
    :param uuid: the guest's.
    :param link_bytes: tells what the host has sent over the link.
    """
    seen = Sample(time.monotonic(), link_bytes())
    try:
        domain = connection.lookupByUUIDString(uuid)
        # Unlike the rest this needs no job, and so waits for nobody.
        state, _ = domain.state()
        if state != libvirt.VIR_DOMAIN_RUNNING:
            return seen  # Elsewhere, or on its way: what is asked would wait.
        seen = dataclasses.replace(
            seen, at_seconds=time.monotonic(), running=True
        )
        memory = domain.memoryStats()
        job = domain.jobStats()
    except libvirt.libvirtError:
        return seen  # It left meanwhile.
    elapsed_ms = job.get(libvirt.VIR_DOMAIN_JOB_TIME_ELAPSED)
    return dataclasses.replace(
        seen,
        balloon_kib=memory.get('actual'),
        rss_kib=memory.get('rss'),
        job_seconds=None if elapsed_ms is None else elapsed_ms / 1000,
    )


class _Watch(threading.Thread):
    """Looks at a guest on one host until told to stop."""

    def __init__(self, host: lab_host.Host, uuid: str) -> None:
        super().__init__(name=f'watch {host.name}', daemon=True)
        self._host = host
        self._uuid = uuid
        self._stop_wanted = threading.Event()
        self.samples: list[Sample] = []

    def run(self) -> None:
        connection = self._host.libvirt()
        try:
            wait_seconds = 0.0
            while not self._stop_wanted.wait(wait_seconds):
                began = time.monotonic()
                self.samples.append(
                    look(connection, self._uuid, self._sent_bytes)
                )
                took_seconds = time.monotonic() - began
                wait_seconds = max(0.0, INTERVAL_SECONDS - took_seconds)
        finally:
            connection.close()

    def stop(self) -> None:
        self._stop_wanted.set()
        self.join()

    def _sent_bytes(self) -> int:
        return self._host.link_bytes()[0]


class Recorder:
    """Records one guest's migration, as a context manager.

    :param uuid: the guest's, which is its server's id.
    :param source: the host it is on.
    :param destination: the host it goes to.
    """

    def __init__(
        self, uuid: str, source: lab_host.Host, destination: lab_host.Host
    ) -> None:
        self._source = _Watch(source, uuid)
        self._destination = _Watch(destination, uuid)

    def __enter__(self) -> Self:
        self._source.start()
        self._destination.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._source.stop()
        self._destination.stop()

    def recording(self) -> Recording:
        """Tell what has been seen so far."""
        return Recording(
            tuple(self._source.samples), tuple(self._destination.samples)
        )

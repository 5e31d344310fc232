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

"""The moment a guest runs at its destination, from libvirt's event."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import threading

import libvirt

from tests.lab import host as lab_host


@functools.cache
def start_loop() -> None:
    """Have libvirt deliver events; before any connection is opened."""
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_loop, name='libvirt-events', daemon=True).start()


def _loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


@contextlib.contextmanager
def resumed(
    uuid: str, host: lab_host.Host, tell: Callable[[], None]
) -> Iterator[None]:
    """Tell as soon as a guest resumes on a host: the end of its migration.

    It is what Nova's driver hears of as ``EVENT_LIFECYCLE_RESUMED``.

    :param tell: called by the thread that delivers events: it must not call
        libvirt, nor take long.
    """
    connection = host.libvirt()

    def hear(
        _connection: libvirt.virConnect,
        domain: libvirt.virDomain,
        event: int,
        _detail: int,
        _opaque: None,
    ) -> None:
        is_it = domain.UUIDString() == uuid
        if is_it and event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
            tell()

    number = connection.domainEventRegisterAny(
        None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, hear, None
    )
    try:
        yield
    finally:
        connection.domainEventDeregisterAny(number)
        connection.close()

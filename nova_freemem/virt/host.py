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

"""The guests of this host as libvirt has them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import threading
from typing import Any

import libvirt

from nova_freemem import exceptions
from nova_freemem.virt import guest as guests
from nova_freemem.virt import tpool
from nova_freemem.virt.errors import translated


class Host:
    """The libvirtd of one host."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """Initialize the host.

        :param connect: returns a ``libvirt.virConnect``, or Nova's proxy of
                        one, that is alive
        """
        self._connect = connect

    @classmethod
    def at(cls, uri: str) -> Host:
        """Connect to libvirt, outside of Nova.

        :param uri: of libvirt
        :returns: the host
        :raises LibvirtError: the connection failed
        """
        libvirt.registerErrorHandler(_print_nothing, None)
        with translated(f'connect to {uri}'):
            connection = libvirt.open(uri)
        return cls(lambda: connection)

    def name(self) -> str:
        """Return the name of this host.

        :raises LibvirtError: it could not be read
        """
        with translated('read the name of the host'):
            return str(tpool.own(self._connect()).getHostname())

    def versions(self) -> tuple[str, str]:
        """Return the versions of libvirt and of the hypervisor.

        :raises LibvirtError: they could not be read
        """
        with translated('read its version'):
            connection = tpool.own(self._connect())
            return (
                _version(connection.getLibVersion()),
                _version(connection.getVersion()),
            )

    def uuids(self) -> list[str]:
        """Return the UUIDs of all active guests.

        :raises LibvirtError: the domains could not be listed
        """
        return sorted(guest.uuid for guest in self.active_guests())

    def journal_entries(self) -> dict[str, str]:
        """Read the journal entries of all active guests.

        This takes one call for the list of domains and one for each domain;
        none of them waits for a job or for QEMU.

        :returns: the entries as written, by the UUID of the guest
        :raises LibvirtError: the domains could not be listed
        """
        return tpool.call(_entries, self._connect())

    def active_guests(self) -> list[guests.Guest]:
        """Look up all active guests.

        :raises LibvirtError: the domains could not be listed
        """
        return _active(tpool.own(self._connect()))

    def guest(self, uuid: str) -> guests.Guest:
        """Look up one guest.

        :param uuid: of the instance
        :returns: the guest
        :raises DomainGone: it is not on this host
        """
        with translated('find the domain'):
            connection = tpool.own(self._connect())
            return guests.Guest(connection.lookupByUUIDString(uuid))


class Connections:
    """Connections to one libvirtd, each lent to one user at a time.

    libvirtd works on five requests of a connection at a time, and reads no
    other, not even one that it could answer at once, while they wait for
    QEMU (max_client_requests). A user whose request is not answered keeps
    its connection, and others get another one.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        spare: int,
        most: int | None = None,
    ) -> None:
        """Initialize it with no connection.

        :param connect: returns a new ``libvirt.virConnect``, or Nova's proxy
                        of one
        :param spare: how many connections are kept open that nobody uses
        :param most: how many are lent at a time; None where the users are
                     bounded
        """
        self._connect = connect
        self._spare = spare
        self._most = most
        self._lock = threading.Lock()
        self._lent = 0
        self._idle: list[Any] = []

    @contextlib.contextmanager
    def host(self) -> Iterator[Host]:
        """Lend a connection that is alive.

        :returns: the host, over this connection, as a context manager
        :raises LibvirtError: the connection failed, or all are lent
        """
        with self._counted():
            connection = self._take()
            try:
                yield Host(lambda: connection)
            finally:
                with self._lock:
                    if len(self._idle) < self._spare:
                        self._idle.append(connection)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            if self._lent == self._most:
                raise exceptions.LibvirtError(
                    doing='connect',
                    error=f'all {self._most} connections are in use',
                )
            self._lent += 1
        try:
            yield
        finally:
            with self._lock:
                self._lent -= 1

    def _take(self) -> Any:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            try:
                connection.getLibVersion()
            except libvirt.libvirtError:
                continue  # libvirtd was restarted.
            return connection
        with translated('connect'):
            return tpool.own(self._connect())


def _entries(connection: Any) -> dict[str, str]:
    entries = {}
    for guest in _active(connection):
        # It may have left, or been shut down, since the list was made.
        with contextlib.suppress(exceptions.LibvirtError):
            entry = guest.read_metadata()
            if entry is not None:
                entries[guest.uuid] = entry
    return entries


def _active(connection: Any) -> list[guests.Guest]:
    with translated('list the domains'):
        handles = connection.listAllDomains(
            libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        )
    return [guests.Guest(handle) for handle in handles]


def _version(number: int) -> str:
    """Return a version of libvirt's, a million for each major release."""
    return f'{number // 1000000}.{number // 1000 % 1000}.{number % 1000}'


def _print_nothing(_context: Any, _error: Any) -> None:
    """Keep libvirt from printing errors, which are raised anyway."""

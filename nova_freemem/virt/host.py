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
import contextlib
from typing import Any

import libvirt

from nova_freemem import exceptions
from nova_freemem.virt import guest as guests
from nova_freemem.virt import tpool
from nova_freemem.virt.errors import translated


class Host:
    """One host's libvirtd."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """Know how to reach it.

        :param connect: returns a ``libvirt.virConnect``, or Nova's proxy of
                        one, that is alive
        """
        self._connect = connect

    @classmethod
    def at(cls, uri: str) -> Host:
        """Connect to it, outside of Nova.

        :param uri: libvirt's
        :returns: the hypervisor
        :raises LibvirtFault: there is none
        """
        libvirt.registerErrorHandler(_say_nothing, None)
        with translated(f'connect to {uri}'):
            connection = libvirt.open(uri)
        return cls(lambda: connection)

    def journal_entries(self) -> dict[str, str]:
        """Read the journal entries of all guests that are not off.

        That is one call for all domains and one for each; none of them waits
        for a job or for QEMU.

        :returns: the entries as they are written, by the UUID of the guest
        :raises LibvirtFault: libvirt would not
        """
        return tpool.call(_entries, self._connect())

    def domain(self, uuid: str) -> guests.Guest:
        """Find one guest.

        :param uuid: the instance's
        :returns: its domain
        :raises DomainGone: it is not here
        """
        with translated('find the domain'):
            return guests.Guest(self._connect().lookupByUUIDString(uuid))


def _entries(connection: Any) -> dict[str, str]:
    entries = {}
    with translated('list the domains'):
        handles = connection.listAllDomains(
            libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        )
    for handle in handles:
        domain = guests.Guest(handle)
        # It has left, or gone off, since the list was made.
        with contextlib.suppress(exceptions.LibvirtError):
            entry = domain.read_metadata()
            if entry is not None:
                entries[domain.uuid] = entry
    return entries


def _say_nothing(_context: Any, _error: Any) -> None:
    """Keep libvirt from printing what is raised anyway."""

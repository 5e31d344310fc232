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

"""The network interfaces of this host."""

from __future__ import annotations

import contextlib
import ipaddress
import pathlib
import socket

import psutil

SYSFS = pathlib.Path('/sys/class/net')


def resolved(address: str) -> frozenset[str]:
    """Return the IP addresses that an address or a name stands for.

    :param address: an IP address of this host, or a name
    :returns: IP addresses; none where the name is not known
    """
    with contextlib.suppress(OSError, UnicodeError):
        return frozenset(
            _normal(str(answer[4][0]))
            for answer in socket.getaddrinfo(address, None)
        )
    return frozenset()


def speed_mbps(addresses: frozenset[str], connections: int = 1) -> int | None:
    """Return the most that the interface with an address can carry.

    Of a bridge or a VLAN that is the speed of the physical interface below,
    and of a bond that of as many as there are connections: each connection
    takes one of them.

    :param addresses: IP addresses of this host, one of which it has
    :param connections: that share the bond, if it is one
    :returns: 10^6 bits a second; None where no interface has the address or
              the interface does not report its speed
    """
    speeds = {name: one.speed for name, one in psutil.net_if_stats().items()}
    for name, known in psutil.net_if_addrs().items():
        if any(_normal(one.address) in addresses for one in known):
            return _speed_mbps(name, speeds, connections, frozenset()) or None
    return None


def _speed_mbps(
    name: str, speeds: dict[str, int], connections: int, above: frozenset[str]
) -> int:
    """Return the speed of an interface, 0 where it is not known."""
    below = [
        _speed_mbps(lower, speeds, connections, above | {name})
        for lower in _lower(name) - above
        if _is_physical(lower)
    ]
    if (SYSFS / name / 'bonding').exists():
        return sum(sorted(below)[-connections:])
    return max(below, default=0) or max(0, speeds.get(name, 0))


def _lower(name: str) -> set[str]:
    """Return what a bridge, a bond or a VLAN stands on."""
    return {
        link.name.removeprefix('lower_')
        for link in (SYSFS / name).glob('lower_*')
    }


def _is_physical(name: str) -> bool:
    """Return whether an interface is, or stands on, more than software.

    A bridge has the interfaces of guests as well, which report any speed.
    """
    return (SYSFS / name / 'device').exists() or bool(_lower(name))


def _normal(address: str) -> str:
    """Return an address in the form in which two of them can be compared."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(address.partition('%')[0]))
    return address

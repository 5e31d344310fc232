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

import psutil


def speed_mbps(address: str) -> int | None:
    """Return the speed of the interface that has an address.

    :param address: an IP address of this host
    :returns: 10^6 bits a second; None where no interface has the address or
              the interface does not report its speed
    """
    interfaces = psutil.net_if_stats()
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            stats = interfaces.get(name)
            return stats.speed if stats and stats.speed > 0 else None
    return None

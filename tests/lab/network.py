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

"""The lab's two networks: management, and the link that migrations take."""

from collections.abc import Callable
from concurrent import futures
import errno
import functools
import threading
from typing import TypeVar

import psutil
import pyroute2
from pyroute2 import netlink
from pyroute2 import netns
from pyroute2.netlink import rtnl

from tests.lab import layout
from tests.lab import namespaces
from tests.lab import steps

#: The names of a host's two interfaces, inside it.
CONTROL, LINK = 'control', 'link'

# Both hosts may come up at the same time; the bridges are made once.
_BRIDGES = threading.Lock()

_Answer = TypeVar('_Answer')


def _inside(
    host: layout.HostLayout, ask: Callable[[pyroute2.IPRoute], _Answer]
) -> _Answer:
    """Call what wants to see or change the network of a host.

    A thread of its own enters the host: pyroute2.NetNS forks, which a
    process with several threads must not.
    """
    network = f'/proc/{namespaces.pid_of(host)}/ns/net'

    def enter() -> _Answer:
        netns.setns(network, flags=0)
        with pyroute2.IPRoute() as ip:
            return ask(ip)

    with futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(enter).result()


def _index(ip: pyroute2.IPRoute, interface: str) -> int:
    return int(ip.link('get', ifname=interface)[0]['index'])


def make_bridges() -> None:
    """Make both bridges, and the control plane's address on the first.

    :raises Refused: a bridge belongs to a lab with another state folder.
    """
    lab = layout.LAB
    with _BRIDGES, pyroute2.IPRoute() as ip:
        for bridge in (lab.control_bridge, lab.link_bridge):
            if not ip.link_lookup(ifname=bridge):
                ip.link('add', ifname=bridge, kind='bridge')
                ip.link('set', ifname=bridge, ifalias=str(lab.state))
            # Two labs of one machine have the same addresses.
            owner = _owner(ip, bridge)
            if owner != str(lab.state):
                whose = f'the lab in {owner}' if owner else 'another program'
                raise steps.Refused(f'{bridge} exists: {whose} uses it')
            ip.link('set', ifname=bridge, state='up')
        _set_address(lab.control_bridge, lab.control_address, ip)


def _owner(ip: pyroute2.IPRoute, bridge: str) -> str:
    """Read whose bridge it is, by the state folder in its alias."""
    (shown,) = ip.link('get', ifname=bridge)
    return shown.get('ifalias') or ''


def _set_address(interface: str, address: str, ip: pyroute2.IPRoute) -> None:
    index = _index(ip, interface)
    length = layout.LAB.prefix_length
    ip.addr('replace', index=index, address=address, prefixlen=length)
    ip.link('set', index=index, state='up')


def remove_bridges() -> None:
    """Remove this lab's bridges; every host has to be down."""
    lab = layout.LAB
    with pyroute2.IPRoute() as ip:
        for bridge in (lab.control_bridge, lab.link_bridge):
            is_there = ip.link_lookup(ifname=bridge)
            if is_there and _owner(ip, bridge) == str(lab.state):
                ip.link('del', ifname=bridge)


def _outer(host: layout.HostLayout, inner: str) -> str:
    """Name the bridge's end of a host's interface (15 characters at most)."""
    return f'fmlab-{inner[:4]}{host.name.removeprefix("host")}'


def plug(host: layout.HostLayout) -> None:
    """Give a host its two interfaces, plugged into the bridges."""
    lab = layout.LAB
    for inner, bridge, address in (
        (CONTROL, lab.control_bridge, host.control_address),
        (LINK, lab.link_bridge, host.link_address),
    ):
        _make_pair(host, inner)
        _set_bridge(host, inner, bridge)
        _inside(host, functools.partial(_set_address, inner, address))


def _make_pair(host: layout.HostLayout, inner: str) -> None:
    outer = _outer(host, inner)
    is_known = _inside(host, lambda ip: ip.link_lookup(ifname=inner))
    with pyroute2.IPRoute() as ip:
        if ip.link_lookup(ifname=outer):
            if is_known:
                return
            # Its other end went with the host as it was before.
            ip.link('del', ifname=outer)
        peer = {'ifname': inner, 'net_ns_pid': namespaces.pid_of(host)}
        ip.link('add', ifname=outer, kind='veth', peer=peer)


def _set_bridge(
    host: layout.HostLayout, inner: str, bridge: str | None
) -> None:
    with pyroute2.IPRoute() as ip:
        index = _index(ip, bridge) if bridge else 0
        ip.link('set', ifname=_outer(host, inner), master=index, state='up')


def unplug(host: layout.HostLayout) -> None:
    """Take a host's interfaces away, both ends of each."""
    for inner in (CONTROL, LINK):
        with pyroute2.IPRoute() as ip:
            try:
                ip.link('del', ifname=_outer(host, inner))
            except netlink.NetlinkError as error:
                # They go with the host's namespace, maybe at this moment.
                if error.code != errno.ENODEV:
                    raise


def set_link(mbit: int | None) -> None:
    """Limit what each host that is up can send over the link.

    Both directions are limited, since each host's own end is.

    :param mbit: 10^6 bits a second; None for no limit.
    """
    for host in layout.HOSTS.values():
        if namespaces.pid_of(host) is not None:
            _inside(host, functools.partial(_set_limit, mbit))


def _set_limit(mbit: int | None, ip: pyroute2.IPRoute) -> None:
    index = _index(ip, LINK)
    if mbit is not None:
        limit = {'rate': f'{mbit}mbit', 'burst': 1 << 20, 'latency': '50ms'}
        ip.tc('replace', 'tbf', index=index, **limit)
    elif _limit_mbps(ip) is not None:
        ip.tc('del', index=index, parent=rtnl.TC_H_ROOT)


def _limit_mbps(ip: pyroute2.IPRoute) -> int | None:
    for one in ip.get_qdiscs(index=_index(ip, LINK)):
        if one.get('kind') == 'tbf':
            parameters = one.get_nested('TCA_OPTIONS', 'TCA_TBF_PARMS')
            return int(parameters['rate']) * 8 // 10**6
    return None


def migration_bandwidth_mbps(host: layout.HostLayout) -> int | None:
    """Tell what a host can send over the link.

    :returns: 10^6 bits a second; None for no limit.
    """
    return _inside(host, _limit_mbps)


def cut(host: layout.HostLayout) -> None:
    """Drop what a host sends and is sent over the link.

    Taken off the bridge, the interface itself stays up: who sends sees no
    error, as with a switch that has died.
    """
    _set_bridge(host, LINK, None)


def mend(host: layout.HostLayout) -> None:
    """End what cut() began."""
    _set_bridge(host, LINK, layout.LAB.link_bridge)


def link_bytes(host: layout.HostLayout) -> tuple[int, int]:
    """Read what a host has sent and received over the link.

    Read at the bridge's end of its interface, which costs no process: what
    comes in there, the host has sent.

    :returns: bytes sent, bytes received.
    """
    interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
    outer = interfaces[_outer(host, LINK)]
    return outer.bytes_recv, outer.bytes_sent

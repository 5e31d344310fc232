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

import json
import subprocess
import threading
from typing import Any

import psutil

from tests.lab import layout
from tests.lab import namespaces
from tests.lab import steps

#: The names of a host's two interfaces, inside it.
CONTROL, LINK = 'control', 'link'

# Both hosts may come up at the same time; the bridges are made once.
_BRIDGES = threading.Lock()


def _ip(*arguments: str) -> Any:
    """Run iproute2's ip in the root namespace.

    :returns: its answer, parsed; None where it has nothing to say.
    :raises RuntimeError: it failed; its words.
    """
    done = subprocess.run(
        ['ip', '-json', *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f'ip {" ".join(arguments)}: {done.stderr.strip()}')
    return json.loads(done.stdout) if done.stdout.strip() else None


def _exists(interface: str) -> bool:
    return any(one['ifname'] == interface for one in _ip('link', 'show'))


def make_bridges() -> None:
    """Make both bridges, and the control plane's address on the first."""
    lab = layout.LAB
    address = f'{lab.control_address}/{lab.prefix_length}'
    with _BRIDGES:
        for bridge in (lab.control_bridge, lab.link_bridge):
            if not _exists(bridge):
                _ip('link', 'add', bridge, 'type', 'bridge')
                _ip('link', 'set', bridge, 'alias', str(lab.state))
            _refuse_unless_ours(bridge)
            _ip('link', 'set', bridge, 'up')
        _ip('address', 'replace', address, 'dev', lab.control_bridge)


def _owner(bridge: str) -> str:
    """Read whose bridge it is, by the state folder in its alias."""
    (shown,) = _ip('link', 'show', 'dev', bridge)
    return str(shown.get('ifalias', ''))


def _refuse_unless_ours(bridge: str) -> None:
    """Keep two labs off one another: they have the same addresses.

    :raises Refused: the bridge belongs to a lab with another state folder.
    """
    owner = _owner(bridge)
    if owner != str(layout.LAB.state):
        whose = f'the lab in {owner}' if owner else 'somebody else'
        raise steps.Refused(f'{bridge} is there already: {whose} uses it')


def remove_bridges() -> None:
    """Remove this lab's bridges; every host has to be down."""
    for bridge in (layout.LAB.control_bridge, layout.LAB.link_bridge):
        if _exists(bridge) and _owner(bridge) == str(layout.LAB.state):
            _ip('link', 'delete', bridge)


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
        outer = _outer(host, inner)
        _make_pair(host, outer, inner)
        _ip('link', 'set', outer, 'master', bridge, 'up')
        for change in (
            f'address replace {address}/{lab.prefix_length} dev {inner}',
            f'link set dev {inner} up',
        ):
            namespaces.run(host, 'ip', *change.split())


def _make_pair(host: layout.HostLayout, outer: str, inner: str) -> None:
    show = f'ip link show dev {inner}'.split()
    known = namespaces.run(host, *show, check=False)
    if _exists(outer) and known.returncode == 0:
        return
    if _exists(outer):  # Its other end went with the host as it was before.
        _ip('link', 'delete', outer)
    peer = ['peer', 'name', inner, 'netns', str(namespaces.pid_of(host))]
    _ip('link', 'add', outer, 'type', 'veth', *peer)


def unplug(host: layout.HostLayout) -> None:
    """Take a host's interfaces away, both ends of each."""
    for inner in (CONTROL, LINK):
        outer = _outer(host, inner)
        try:
            _ip('link', 'delete', outer)
        except RuntimeError:
            # They go with the host's namespace, maybe at this moment.
            if _exists(outer):
                raise


def set_link(mbit: int | None) -> None:
    """Limit what each host that is up can send over the link.

    Both directions are limited, since each host's own end is.

    :param mbit: 10^6 bits a second; None for no limit.
    """
    for host in layout.HOSTS.values():
        if namespaces.pid_of(host) is None:
            continue
        shape = f'tc qdisc replace dev {LINK} root tbf rate {mbit}mbit'
        shape += ' burst 1mb latency 50ms'
        unshape = f'tc qdisc delete dev {LINK} root'
        # Deleting what is not there is an error, and as good.
        command = unshape if mbit is None else shape
        namespaces.run(host, *command.split(), check=mbit is not None)


def migration_bandwidth_mbps(host: layout.HostLayout) -> int | None:
    """Tell what a host can send over the link.

    :returns: 10^6 bits a second; None for no limit.
    """
    show = f'tc -json qdisc show dev {LINK}'
    for discipline in json.loads(namespaces.run(host, *show.split()).stdout):
        if discipline['kind'] == 'tbf':
            return int(discipline['options']['rate']) * 8 // 10**6
    return None


def cut(host: layout.HostLayout) -> None:
    """Drop whatever crosses a host's end of the link, both ways.

    Taken off the bridge, the interface itself stays up: who sends sees no
    error, as with a switch that has died.
    """
    _ip('link', 'set', _outer(host, LINK), 'nomaster')


def mend(host: layout.HostLayout) -> None:
    """Carry again what crosses a host's end of the link."""
    bridge = layout.LAB.link_bridge
    _ip('link', 'set', _outer(host, LINK), 'master', bridge)


def link_bytes(host: layout.HostLayout) -> tuple[int, int]:
    """Read what a host has sent and received over the link.

    Read at the bridge's end of its interface, which costs no process: what
    comes in there, the host has sent.

    :returns: bytes sent, bytes received.
    """
    interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
    outer = interfaces[_outer(host, LINK)]
    return outer.bytes_recv, outer.bytes_sent

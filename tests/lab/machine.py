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

"""Check whether a machine can run the lab.

Each check yields what is wrong, in one line, or nothing. The standard
library alone is used, and nothing is changed.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import pathlib
import shutil
import socket
import struct
import subprocess

from tests.lab import layout
from tests.lab import lock

_DEBIAN_VERSIONS = ('12', '13')
_IP_FREEBIND = 15  # linux/in.h: bind an address that is not there yet.
# In namespaces that end with it, nothing of this reaches the machine.
_KERNEL_TEST = """
command -v ip tc > /dev/null || exit 0
ip link add bridge type bridge
ip link add outer type veth peer name inner
tc qdisc add dev inner root tbf rate 1gbit burst 1mb latency 50ms
"""


def check_system(release: str, kind: str, machine: str) -> Iterator[str]:
    """Find a system that the lab does not run on.

    :param release: /etc/os-release.
    """
    if (kind, machine) != ('Linux', 'x86_64'):
        yield f'the lab runs on Linux on x86_64; this is {kind} on {machine}'
        return
    known = dict(
        line.split('=', 1) for line in release.splitlines() if '=' in line
    )
    values = {name: value.strip('"') for name, value in known.items()}
    version = values.get('VERSION_ID', '')
    if values.get('ID') != 'debian' or version not in _DEBIAN_VERSIONS:
        system = values.get('PRETTY_NAME', 'another system')
        yield f'the lab needs Debian 12 or 13; this is {system}'


def check_rights(user: int) -> Iterator[str]:
    """Find a user who may not make namespaces."""
    if user != 0:
        yield ('the lab needs root to make namespaces and bridges (use sudo)')


def check_lock() -> Iterator[str]:
    """Find another process that uses the lab."""
    taken = lock.complaint()
    if taken:
        yield taken


def check_memory(meminfo: str, wanted_mib: int) -> Iterator[str]:
    """Find too little memory (proc(5), meminfo)."""
    lines = (line.split() for line in meminfo.splitlines())
    figures = {words[0]: int(words[1]) for words in lines if len(words) > 1}
    available_mib = figures['MemAvailable:'] // 1024
    if available_mib < wanted_mib:
        yield (
            f'too little memory: {wanted_mib} MiB are needed,'
            f' {available_mib} MiB are available'
        )


def check_disk(folder: pathlib.Path, wanted_mib: int) -> Iterator[str]:
    """Find too little space where a folder is or will be."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free_mib = shutil.disk_usage(there).free >> 20
    if free_mib < wanted_mib:
        yield (
            f'too little disk: {wanted_mib} MiB are needed in {folder},'
            f' {free_mib} MiB are free'
        )


def check_kernel() -> Iterator[str]:
    """Find a kernel, or a container, that cannot make networks."""
    kinds = ['--net', '--mount', '--uts', '--ipc']
    done = subprocess.run(
        ['unshare', *kinds, '--', 'sh', '-ec', _KERNEL_TEST],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        why = ' '.join(done.stderr.split())
        yield (
            'namespaces, bridges, veth pairs or tbf cannot be made'
            f' with this kernel or in this container: {why}'
        )


def check_networks(routes: str) -> Iterator[str]:
    """Find another interface with the lab's addresses (/proc/net/route).

    A route to a wider network does no harm: the lab's is preferred.
    """
    hosts = layout.HOSTS.values()
    wanted = {one.control_address for one in hosts}
    wanted |= {one.link_address for one in hosts}
    for line in routes.splitlines()[1:]:
        interface, destination, *_, mask_digits = line.split()[:8]
        mask = int(mask_digits, 16)
        is_wide = mask.bit_count() < layout.LAB.prefix_length
        if is_wide or interface.startswith('fmlab-'):
            continue
        for address in sorted(wanted):
            if _number(address) & mask == int(destination, 16):
                yield f'{address}, which the lab needs, belongs to {interface}'
                return


def _number(address: str) -> int:
    """Read an address the way /proc/net/route writes it."""
    return int(struct.unpack('=I', socket.inet_aton(address))[0])


def check_ports(address: str, ports: Mapping[str, int]) -> Iterator[str]:
    """Find ports that another program uses, on this address or on all."""
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                why = error.strerror
                yield f'port {port}, for {name}, cannot be used: {why}'

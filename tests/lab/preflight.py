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

"""Can this machine do what is asked, before anything is changed?

``python3 -m tests.lab.preflight demo|test|<a command of the lab> ARGS...``

Answers with one line and exit code 2 where it cannot. It needs nothing but
the standard library and changes nothing.
"""

import argparse
from collections.abc import Iterator
import dataclasses
import os
import pathlib
import platform
import shutil
import socket
import struct
import subprocess
import sys

from tests.lab import arguments
from tests.lab import errors
from tests.lab import layout

# Of the control plane and both computes; 3 GiB were in use with all of it
# up and no guest.
_CLOUD_MIB = 4096
_ROOM_MIB = 512  # The two libvirtd and what runs the tests.
_TEST_GUEST_MIB = 1024
# What is downloaded and installed, the databases, the guests' disks.
_DISK_MIB = 6144
_DEBIAN_VERSIONS = ('12', '13')
_TEST_SUITES = ('lab', 'cloud')
_IP_FREEBIND = 15  # linux/in.h: bind an address that is not there yet.
_MEMINFO = pathlib.Path('/proc/meminfo')
_ROUTES = pathlib.Path('/proc/net/route')
_OS_RELEASE = pathlib.Path('/etc/os-release')
# In namespaces that end with it, nothing of this reaches the machine.
_KERNEL_TEST = """
command -v ip tc > /dev/null || exit 0
ip link add bridge type bridge
ip link add outer type veth peer name inner
tc qdisc add dev inner root tbf rate 1gbit burst 1mb latency 50ms
"""


@dataclasses.dataclass(frozen=True)
class Need:
    """What a request takes.

    :param guest_mib: the memory of its guest.
    :param lab_mib: what the lab around it takes, unless it is up already.
    :param cloud: whether the control plane's ports are wanted.
    """

    guest_mib: int = 0
    lab_mib: int = 0
    cloud: bool = False

    def memory_mib(self, lab_is_up: bool) -> int:
        """Add it up; while it migrates, a guest is on both hosts."""
        return 2 * self.guest_mib + (0 if lab_is_up else self.lab_mib)


def needed(words: list[str]) -> Need:
    """Judge a request's words and say what it takes.

    :param words: the name of a command, and its arguments.
    :returns: what the machine has to have.
    :raises Refused: there is no such command, or an argument is wrong.
    """
    if not words:
        raise errors.Refused(f'say what to do: {_known()}')
    name, *rest = words
    if name == 'demo':
        chosen = _parse('tools/demo.sh', arguments.demo, rest)
        _refuse_unwritable('--json', chosen.json)
        _refuse_unwritable('--png', chosen.png)
        return _cloud(chosen.memory_mib)
    if name == 'test':
        return _needed_by_tests(rest)
    if name not in arguments.COMMANDS:
        there = f'there are {_known()}'
        raise errors.Refused(f"no such command: '{name}'; {there}")
    program = f'tools/lab.sh {name}'
    chosen = _parse(program, arguments.COMMANDS[name], rest)
    if name == 'up':
        return _cloud(0)
    return Need(guest_mib=chosen.memory_mib if name == 'boot' else 0)


def _known() -> str:
    return ', '.join(arguments.COMMANDS)


def _parse(
    program: str, add: arguments.Adder, words: list[str]
) -> argparse.Namespace:
    parser = arguments.Parser(prog=program)
    add(parser)
    return parser.parse_args(words)


def _cloud(guest_mib: int) -> Need:
    return Need(guest_mib, _CLOUD_MIB, cloud=True)


def _needed_by_tests(suites: list[str]) -> Need:
    for suite in suites:
        if suite not in _TEST_SUITES:
            raise errors.Refused(f"'{suite}' needs no machine room")
    if 'cloud' in suites:
        return _cloud(_TEST_GUEST_MIB)
    return Need(_TEST_GUEST_MIB, _ROOM_MIB)


def _refuse_unwritable(option: str, file: str | None) -> None:
    if file is None:
        return
    path = pathlib.Path(file)
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise errors.Refused(f'{option}: {file} cannot be written')


# --- the machine; each of these yields what is wrong, one line each


def check_system(release: str, kind: str, machine: str) -> Iterator[str]:
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
        yield f'the lab is made of Debian 12 or 13; this is {system}'


def check_rights(user: int) -> Iterator[str]:
    if user != 0:
        yield (
            'not root: the lab makes network namespaces and bridges'
            ' (use sudo)'
        )


def check_memory(meminfo: str, wanted_mib: int) -> Iterator[str]:
    lines = (line.split() for line in meminfo.splitlines())
    figures = {words[0]: int(words[1]) for words in lines if len(words) > 1}
    available_mib = figures['MemAvailable:'] // 1024
    if available_mib < wanted_mib:
        yield (
            f'too little memory: {wanted_mib} MiB are needed,'
            f' {available_mib} MiB are available'
        )


def check_disk(folder: pathlib.Path, wanted_mib: int) -> Iterator[str]:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free_mib = shutil.disk_usage(there).free >> 20
    if free_mib < wanted_mib:
        yield (
            f'too little disk: {wanted_mib} MiB are needed in {folder},'
            f' {free_mib} MiB are free'
        )


def check_kernel() -> Iterator[str]:
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
    """Find who else uses the lab's addresses (proc(5), net/route)."""
    hosts = layout.HOSTS.values()
    wanted = {one.control_address for one in hosts}
    wanted |= {one.link_address for one in hosts}
    for line in routes.splitlines()[1:]:
        interface, destination, *_, mask = line.split()[:8]
        if int(mask, 16) == 0 or interface.startswith('fmlab-'):
            continue
        for address in sorted(wanted):
            if _number(address) & int(mask, 16) == int(destination, 16):
                yield f'{address}, which the lab uses, is of {interface}'
                return


def _number(address: str) -> int:
    """Read an address the way /proc/net/route writes it."""
    return int(struct.unpack('=I', socket.inet_aton(address))[0])


def check_ports(address: str, ports: dict[str, int]) -> Iterator[str]:
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                why = error.strerror
                yield f'port {port}, for {name}, is not to be had: {why}'


def _is_up(run: pathlib.Path) -> bool:
    """Tell whether the lab runs; then it has what it takes."""
    for file in run.glob('*.pid'):
        pid = file.read_text().partition(' ')[0]
        if pid.isdigit() and pathlib.Path('/proc', pid).exists():
            return True
    return False


def complaints(need: Need) -> Iterator[str]:
    """Look at this machine.

    :returns: what it cannot do, one line each; the first decides.
    """
    kind, machine = platform.system(), platform.machine()
    release = _OS_RELEASE.read_text() if _OS_RELEASE.exists() else ''
    yield from check_system(release, kind, machine)
    yield from check_rights(os.geteuid())
    is_up = _is_up(layout.LAB.run)
    yield from check_memory(_MEMINFO.read_text(), need.memory_mib(is_up))
    if is_up:
        return
    for folder in (layout.LAB.cache, layout.LAB.state):
        yield from check_disk(folder, _DISK_MIB)
    yield from check_kernel()
    yield from check_networks(_ROUTES.read_text())
    if need.cloud:
        yield from check_ports(layout.LAB.control_address, dict(layout.PORTS))


def refuse(words: list[str]) -> None:
    """Judge a request.

    :param words: the name of a command, and its arguments.
    :raises Refused: it cannot be met here; nothing has been changed.
    """
    for wrong in complaints(needed(words)):
        raise errors.Refused(wrong)


def main() -> int:
    """Judge the request on the command line.

    :returns: the exit code.
    """
    try:
        refuse(sys.argv[1:])
    except errors.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())

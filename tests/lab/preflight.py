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

"""Check whether this machine can do what is asked, before anything changes.

``python3 -m tests.lab.preflight demo|test|<a lab command> ...``

Prints one line and exits with code 2 where it cannot. It needs nothing but
the standard library and changes nothing. Each harness on top of the lab has a
module like this one that says what its own command takes.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import os
import pathlib
import platform
import sys

from tests.lab import arguments
from tests.lab import errors
from tests.lab import layout
from tests.lab import machine

# Of the control plane and both computes: 2.2 GiB were resident with all of
# it up and no guest.
_CLOUD_MIB = 3072
#: Of the two libvirtd and what runs the tests.
ROOM_MIB = 512
_TEST_GUEST_MIB = 1024
# What is downloaded and installed, the databases, the guests' disks.
_DISK_MIB = 6144
_TEST_SUITES = ('libvirt', 'cloud', 'tempest')
_MEMINFO = pathlib.Path('/proc/meminfo')
_ROUTES = pathlib.Path('/proc/net/route')
_OS_RELEASE = pathlib.Path('/etc/os-release')


@dataclasses.dataclass(frozen=True)
class Need:
    """What a request takes.

    :param guest_mib: the memory of its guest.
    :param lab_mib: what the lab around it takes, unless it is up already.
    :param cloud: whether it uses the control plane's ports.
    :param alone: whether no other process may use the lab meanwhile.
    """

    guest_mib: int = 0
    lab_mib: int = 0
    cloud: bool = False
    alone: bool = False

    def memory_mib(self, lab_is_up: bool) -> int:
        """Add it up; a guest that migrates is on both hosts."""
        return 2 * self.guest_mib + (0 if lab_is_up else self.lab_mib)


#: Says what a request takes; raises Refused where an argument is wrong.
Judge = Callable[[list[str]], Need]


def needed(words: list[str]) -> Need:
    """Work out what a request takes.

    :param words: the name of a command, and its arguments.
    :returns: what the machine must have.
    :raises Refused: there is no such command, or an argument is wrong.
    """
    if words[:1] == ['demo']:
        parser = arguments.Parser('tools/demo.sh')
        arguments.demo(parser)
        chosen = parser.parse_args(words[1:])
        _refuse_unwritable('--json', chosen.json)
        _refuse_unwritable('--png', chosen.png)
        return cloud(chosen.memory_mib)
    if words[:1] == ['test']:
        return _needed_by_tests(words[1:])
    chosen = arguments.lab().parse_args(words)
    if chosen.command == 'boot':
        _refuse_for_small(chosen)
    if chosen.command == 'up':
        return cloud(0)
    return Need(
        guest_mib=chosen.memory_mib if chosen.command == 'boot' else 0,
        alone=chosen.command == 'down',
    )


def cloud(guest_mib: int, count: int = 1) -> Need:
    """Work out what clouds take, each with one guest.

    :param guest_mib: the memory of each guest.
    :param count: how many clouds there are.
    """
    return Need(count * guest_mib, count * _CLOUD_MIB, cloud=True, alone=True)


def _needed_by_tests(suites: list[str]) -> Need:
    for suite in suites:
        if suite not in _TEST_SUITES:
            raise errors.Refused(f"'{suite}' does not use the lab")
    if suites != ['libvirt']:
        return cloud(_TEST_GUEST_MIB)
    return Need(_TEST_GUEST_MIB, ROOM_MIB, alone=True)


def _refuse_unwritable(option: str, file: str | None) -> None:
    if file is None:
        return
    folder = pathlib.Path(file).absolute().parent
    # A user other than root is refused later, for that reason.
    may_write = os.geteuid() != 0 or os.access(folder, os.W_OK)
    if pathlib.Path(file).is_dir() or not folder.is_dir() or not may_write:
        raise errors.Refused(f'{option}: {file} cannot be written')


def _refuse_for_small(chosen: argparse.Namespace) -> None:
    if chosen.system == arguments.SYSTEMS[0] and chosen.packages:
        raise errors.Refused('--with is for --system debian')


def _is_up(run: pathlib.Path) -> bool:
    """Tell whether the lab runs; then it has its memory already."""
    for file in run.glob('*.pid'):
        pid = file.read_text().partition(' ')[0]
        if pid.isdigit() and pathlib.Path('/proc', pid).exists():
            return True
    return False


def complaints(need: Need) -> Iterator[str]:
    """Check this machine.

    :returns: what it cannot do, one line each; only the first is printed.
    """
    kind, architecture = platform.system(), platform.machine()
    release = _OS_RELEASE.read_text() if _OS_RELEASE.exists() else ''
    yield from machine.check_system(release, kind, architecture)
    yield from machine.check_rights(os.geteuid())
    if need.alone:
        yield from machine.check_lock()
    lab = layout.LAB
    is_up = _is_up(lab.run)
    wanted_mib = need.memory_mib(is_up)
    yield from machine.check_memory(_MEMINFO.read_text(), wanted_mib)
    if is_up:
        return
    for folder in (lab.cache, lab.state):
        yield from machine.check_disk(folder, _DISK_MIB)
    yield from machine.check_kernel()
    yield from machine.check_networks(_ROUTES.read_text())
    if need.cloud:
        yield from machine.check_ports(lab.control_address, lab.ports)


def refuse(words: list[str], judge: Judge = needed) -> None:
    """Refuse a request that this machine cannot meet.

    :param words: the name of a command, and its arguments.
    :param judge: says what the request takes.
    :raises Refused: it cannot be met; nothing has been changed.
    """
    for wrong in complaints(judge(words)):
        raise errors.Refused(wrong)


def main(judge: Judge = needed) -> int:
    """Check the request on the command line.

    :param judge: says what the request takes.
    :returns: the exit code.
    """
    try:
        refuse(sys.argv[1:], judge)
    except errors.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())

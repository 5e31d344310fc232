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

"""The namespaces that make a part of this machine a host of its own.

A small process holds a network, a mount, a UTS and an IPC namespace; they
end with the last process inside. They have no names under ``/run/netns``,
so that not even a mount point can stay behind.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import os
import pathlib
import subprocess

import psutil

from tests.lab import layout
from tests.lab import processes
from tests.lab import steps

_KINDS = ('--net', '--mount', '--uts', '--ipc')

# Files are bound read-only: they are there to be read, or to hide a device.
_HOLDER_SCRIPT = """
hostname "$1"; shift
ip link set lo up
while [ $# -gt 0 ]; do
    if [ -d "$1" ]; then mount --bind "$1" "$2"
    else mount -o bind,ro "$1" "$2"; fi
    shift 2
done
exec sleep infinity
"""


def _holder(
    host: layout.HostLayout, mounts: Mapping[str, pathlib.Path]
) -> processes.Daemon:
    pairs = [
        str(path) for place, own in mounts.items() for path in (own, place)
    ]
    script = ['sh', '-ec', _HOLDER_SCRIPT, host.name, host.hostname, *pairs]
    daemon = processes.Daemon(
        name=host.name,
        argv=['unshare', *_KINDS, '--', *script],
        log=layout.LAB.log / f'{host.name}.log',
        ready=lambda: psutil.Process(daemon.pid).name() == 'sleep',
        ready_seconds=10,
    )
    return daemon


def hold(host: layout.HostLayout, mounts: Mapping[str, pathlib.Path]) -> None:
    """Make a host's namespaces, unless they are there.

    :param mounts: what the host has of its own at places of this machine
        (which exist): folders to write to, files to read.
    """
    _holder(host, mounts).start()


def pid_of(host: layout.HostLayout) -> int | None:
    """Find the process that holds a host's namespaces.

    :returns: its pid, None where the host is down.
    """
    return _holder(host, {}).pid


def enter(host: layout.HostLayout) -> list[str]:
    """Return the command that enters a host.

    :returns: what to put before a command to run it there.
    :raises LabError: the host is down.
    """
    pid = pid_of(host)
    if pid is None:
        raise steps.LabError(f'enter {host.name}', 'the host is down')
    return ['nsenter', f'--target={pid}', *_KINDS, '--']


def run(
    host: layout.HostLayout, *argv: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command inside a host.

    :param check: whether an exit code other than 0 is an error.
    :returns: its exit code and what it wrote.
    :raises LabError: the host is down, or the command failed.
    """
    done = subprocess.run(
        [*enter(host), *argv], capture_output=True, text=True
    )
    if check and done.returncode:
        why = done.stderr.strip() or f'exit code {done.returncode}'
        raise steps.LabError(f'{" ".join(argv)} on {host.name}', why)
    return done


def _mount_namespace(pid: int) -> str | None:
    """Name a process's mount namespace; None where it has ended."""
    with contextlib.suppress(OSError):
        return os.readlink(f'/proc/{pid}/ns/mnt')
    return None


def end(host: layout.HostLayout, inside_pids: Iterable[int]) -> None:
    """End every process of a host, and so its namespaces.

    Guests are among them: QEMU leaves libvirtd's session, but not the host.

    :param inside_pids: processes of the host; some may end meanwhile, as the
        one that holds the namespaces does where it has been killed.
    """
    inside = {_mount_namespace(pid) for pid in inside_pids} - {None}
    if inside & {_mount_namespace(os.getpid())}:
        why = f'one of the pids {inside_pids} is not inside'
        raise steps.LabError(f'end {host.name}', why)
    processes.end_all(
        lambda: processes.find(lambda pid: _mount_namespace(pid) in inside),
        f'the processes of {host.name}',
        grace_seconds=3,
    )
    _holder(host, {}).stop()

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

"""What this host has swapped out of its guests.

It is not resident, but it is neither free nor untouched: a migration reads it
again to send it, and a balloon that takes it discards it.
"""

from __future__ import annotations

import re

import psutil

# As many processes are remembered: more guests than a host has.
MOST_GUESTS = 1024

# What the programs of QEMU are called, or the links to them.
_PROGRAMS = ('qemu', 'kvm')

_VM_SWAP = re.compile(r'^VmSwap:\s*([0-9]+) kB$', re.MULTILINE)

# QEMU's process by the guest's UUID; None where it cannot be seen.
_processes: dict[str, psutil.Process | None] = {}


def swapped_kib(uuid: str) -> int:
    """Return what the host has swapped out of a guest's QEMU.

    It may wait for the kernel, if another process of QEMU hangs in it.

    :param uuid: the guest's
    :returns: KiB; 0 where the host does not use swap space, and where the
              process cannot be seen, for example from a container: as if
              the guest had never touched that memory
    """
    try:
        if psutil.swap_memory().used == 0:
            return 0
        process = _process(uuid)
        if process is None:
            return 0
        with open(f'/proc/{process.pid}/status') as status:
            return vm_swap_kib(status.read())
    except (OSError, psutil.Error):
        return 0


def vm_swap_kib(status: str) -> int:
    """Return what of a process is swapped out, shared memory aside.

    :param status: its ``/proc/<pid>/status``, see proc_pid_status(5)
    :returns: KiB
    """
    found = _VM_SWAP.search(status)
    return int(found[1]) if found else 0


def _process(uuid: str) -> psutil.Process | None:
    """Return a guest's QEMU, which may have been started anew."""
    try:
        process = _processes[uuid]
    except KeyError:
        pass  # Not looked for yet, or forgotten by another thread.
    else:
        if process is None or process.is_running():
            return process
    if len(_processes) >= MOST_GUESTS:
        _processes.clear()
    process = _processes[uuid] = _find(uuid)
    return process


def _find(uuid: str) -> psutil.Process | None:
    """Find a guest's QEMU by what libvirt starts it with.

    The command line of a process that hangs in the kernel cannot be read, so
    only those of QEMU are looked at.
    """
    for pid in psutil.pids():
        try:
            with open(f'/proc/{pid}/comm') as name:
                if not name.read().startswith(_PROGRAMS):
                    continue
            with open(f'/proc/{pid}/cmdline', 'rb') as command_line:
                words = command_line.read().split(b'\0')
        except OSError:
            continue  # it has ended
        if uuid.encode() in words[1:] and (
            words[words.index(uuid.encode()) - 1] == b'-uuid'
        ):
            return psutil.Process(pid)
    return None

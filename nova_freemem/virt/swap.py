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

import functools
import itertools
import re

import psutil

# As many processes are remembered: more guests than a host has.
MOST_GUESTS = 1024

_VM_SWAP = re.compile(r'^VmSwap:\s*([0-9]+) kB$', re.MULTILINE)


def swapped_kib(uuid: str) -> int:
    """Return what the host has swapped out of a guest's QEMU.

    :param uuid: the guest's
    :returns: KiB; 0 where the host does not use swap space, and where the
              process cannot be seen, for example from a container: as if
              the guest had never touched that memory
    """
    try:
        if psutil.swap_memory().used == 0:
            return 0
        process = _process(uuid)
        if process is not None and not process.is_running():
            _process.cache_clear()  # It has left, and may have come back.
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


@functools.lru_cache(MOST_GUESTS)
def _process(uuid: str) -> psutil.Process | None:
    """Find a guest's QEMU by what libvirt starts it with."""
    for process in psutil.process_iter(['cmdline']):
        words = process.info['cmdline'] or []
        if ('-uuid', uuid) in itertools.pairwise(words):
            return process
    return None

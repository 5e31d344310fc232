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

"""A lock on the lab: one process at a time brings it up or takes it down.

Two commands that bring up or take down the lab of one folder would end each
other's processes. Preflight asks here who has the lock, with the standard
library alone: the kernel knows.
"""

import fcntl
import os
import pathlib
import struct
from typing import Any

from tests.lab import errors
from tests.lab import layout

# struct flock of fcntl(2): type, whence, start, length, pid.
_FLOCK = 'hhqqi4x'
_LONGEST_COMMAND = 100

# Of class fasteners.InterProcessLock.
_held: list[Any] = []


def _file() -> pathlib.Path:
    return layout.LAB.state / 'lock'


def take() -> None:
    """Take the lock until this process ends, unless it has it already.

    :raises Refused: another process has it; the message names it.
    """
    # Only now: preflight runs before anything is installed.
    import fasteners

    if _is_ours():
        return
    lock = fasteners.InterProcessLock(_file())
    if not lock.acquire(blocking=False):
        raise errors.Refused(complaint() or f'{_file()} cannot be locked')
    _held.append(lock)


def give_up() -> None:
    """Give the lock up, so that another process may take it."""
    while _held:
        _held.pop().release()


def complaint() -> str | None:
    """Name the other process that has the lock.

    :returns: one line; None where no other process has it.
    """
    if _is_ours():
        # Asking would open the file and close it, which ends the lock.
        return None
    wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        with _file().open('rb') as stream:
            found = fcntl.fcntl(stream, fcntl.F_GETLK, wanted)
    except FileNotFoundError:
        return None
    kind, *_, pid = struct.unpack(_FLOCK, found)
    if kind == fcntl.F_UNLCK:
        return None
    who = f'process {pid} ({_command(pid)})'
    return f'{layout.LAB.state}: the lab is in use by {who}'


def _is_ours() -> bool:
    """Whether we hold it, and the folder has not been removed since."""
    try:
        inode = _file().stat().st_ino
    except FileNotFoundError:
        return False
    return any(
        os.fstat(one.lockfile.fileno()).st_ino == inode for one in _held
    )


def _command(pid: int) -> str:
    try:
        line = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()
    except OSError:
        return 'which cannot be seen from here'
    first, *others = line.decode(errors='replace').strip('\0').split('\0')
    # One line, whatever the arguments hold.
    return ' '.join(' '.join([pathlib.Path(first).name, *others]).split())[
        :_LONGEST_COMMAND
    ]

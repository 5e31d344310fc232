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


"""Whose the lab is now: a lock in its state folder.

Two commands that bring up or take down the lab of one folder would end each
other's processes. The standard library alone is used: preflight asks here.
"""

import fcntl
import io
import os
import pathlib
import time

from tests.lab import errors
from tests.lab import layout

# Who only asks holds it as well, for an instant.
_ASKERS_SECONDS = 0.5
_LONGEST_COMMAND = 100

_held: list[io.TextIOWrapper] = []


def _file() -> pathlib.Path:
    return layout.LAB.state / 'lock'


def take() -> None:
    """Have the lab to ourselves until this process ends.

    :raises Refused: another process has it; the message names it.
    """
    if _is_ours():
        return
    _file().parent.mkdir(parents=True, exist_ok=True)
    stream = _file().open('a+')
    until = time.monotonic() + _ASKERS_SECONDS
    while not _locked(stream, fcntl.LOCK_EX):
        if time.monotonic() > until:
            raise errors.Refused(_taken(stream))
        time.sleep(_ASKERS_SECONDS / 10)
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    _held.append(stream)


def complaint() -> str | None:
    """Tell who else has the lab; None where it is to be had."""
    if _is_ours():
        return None
    try:
        stream = _file().open()
    except FileNotFoundError:
        return None
    with stream:
        is_free = _locked(stream, fcntl.LOCK_SH)
        return None if is_free else _taken(stream)


def _is_ours() -> bool:
    """Whether we hold it, and the folder has not been removed since."""
    try:
        there = _file().stat().st_ino
    except FileNotFoundError:
        return False
    return any(os.fstat(one.fileno()).st_ino == there for one in _held)


def _locked(stream: io.TextIOWrapper, kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _taken(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    pid = stream.read().strip()
    who = f'process {pid} ({_command(pid)})' if pid else 'another process'
    return f'{layout.LAB.state}: the lab is in use by {who}'


def _command(pid: str) -> str:
    try:
        words = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
    except OSError:
        return 'which is not to be seen from here'
    first, *others = (word.decode(errors='replace') for word in words if word)
    name = pathlib.Path(first).name
    line = ' '.join(' '.join([name, *others]).split())  # One line, whatever.
    return line[:_LONGEST_COMMAND]

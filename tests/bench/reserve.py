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

"""Memory that is at hand at the destination, as a physical machine has it.

If this machine is a guest itself and its host reclaims what is free, getting
memory back takes long: 2.3 s a GiB were measured, and 0.03 s where it was at
hand. A guest whose free memory is in fragments fills the destination with huge
pages as soon as one page of each arrives; its migration was measured to take
12 s instead of 7. So a process holds as much memory as the guest can fill, and
frees it from the start of the transfer on, as huge pages are taken. What is
free for two seconds is reported to this machine's host, and no longer at hand.
That keeps the machine busy, too: little is free ahead of what is taken.
"""

from collections.abc import Iterator
import contextlib
import mmap
import pathlib
import subprocess
import sys
import time

_HELD = b'held'
_LEAVE = b'leave'

# How often is looked, and what is to be free ahead of what is taken.
_LOOK_SECONDS, _AHEAD_BYTES = 0.05, 512 << 20
_PIECE_BYTES = 64 << 20
_HUGE_PAGE_BYTES = 2 << 20


class Reserve:
    """A process that holds memory.

    :param process: the process, which :func:`_hold` runs in.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def leave(self) -> None:
        """Begin to free the memory, as it is taken."""
        assert self._process.stdin is not None
        self._process.stdin.write(_LEAVE)
        self._process.stdin.flush()


@contextlib.contextmanager
def held(mib: int) -> Iterator[Reserve]:
    """Hold memory until :meth:`Reserve.leave`, or until the end.

    :param mib: how much.
    """
    command = [sys.executable, '-P', '-m', __name__, str(mib)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        try:
            assert process.stdout is not None
            process.stdout.read(len(_HELD))
            yield Reserve(process)
        finally:
            process.kill()


def filled(size_bytes: int) -> mmap.mmap:
    """Map memory that can be given up in pieces, and write to each page.

    It is private: what is shared stays, whatever is advised, and is in small
    pages where the system has no huge ones for it.
    """
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    memory = mmap.mmap(-1, size_bytes, flags=private)
    memory.madvise(mmap.MADV_HUGEPAGE)
    memory[:: mmap.PAGESIZE] = b'.' * (size_bytes // mmap.PAGESIZE)
    return memory


def _hold(mib: int) -> None:
    with filled(mib << 20) as memory:
        sys.stdout.buffer.write(_HELD)
        sys.stdout.buffer.flush()
        sys.stdin.buffer.read(len(_LEAVE))
        before_bytes = _taken_bytes()
        for start in range(0, len(memory), _PIECE_BYTES):
            while start - (_taken_bytes() - before_bytes) >= _AHEAD_BYTES:
                time.sleep(_LOOK_SECONDS)
            memory.madvise(mmap.MADV_DONTNEED, start, _PIECE_BYTES)


def _taken_bytes() -> int:
    """Return what has been taken in huge pages since this machine started."""
    for line in pathlib.Path('/proc/vmstat').read_text().splitlines():
        name, _, value = line.partition(' ')
        if name == 'thp_fault_alloc':
            return int(value) * _HUGE_PAGE_BYTES
    return 0  # The system has none: nothing fills more than it is sent.


if __name__ == '__main__':
    _hold(int(sys.argv[1]))

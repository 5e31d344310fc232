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
memory back takes long: 1.6 to 2.4 s a GiB were measured, and 0.2 s where it
was at hand. A guest whose free memory is in fragments fills the destination
with huge pages as soon as one page of each arrives; its migration was measured
to take 13 s instead of 7. So a process holds as much memory as the guest can
fill, and frees it from the start of the transfer on, piece by piece: what is
free for longer than a moment is reported to this machine's host, and no longer
at hand.
"""

from collections.abc import Iterator
import contextlib
import mmap
import subprocess
import sys
import time

_HELD = b'held'
_LEAVE = b'leave'

# 1.3 GB a second, which is more than any guest was seen to fill.
_PIECE_BYTES, _PIECE_SECONDS = 256 << 20, 0.2


class Reserve:
    """A process that holds memory.

    :param process: the process, which :func:`_hold` runs in.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def leave(self) -> None:
        """Begin to free the memory, piece by piece."""
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
        for start in range(0, len(memory), _PIECE_BYTES):
            memory.madvise(mmap.MADV_DONTNEED, start, _PIECE_BYTES)
            time.sleep(_PIECE_SECONDS)


if __name__ == '__main__':
    _hold(int(sys.argv[1]))

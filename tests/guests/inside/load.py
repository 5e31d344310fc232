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

"""Work, one piece after the other, and write down how long each took.

``load.py LOG KIND [WORD...]``, in the guest: Debian's own Python, the standard
library alone. A line of the log is the time of day as a piece of work ended
and the microseconds that it took, or ``failed``.
"""

from collections.abc import Callable
import mmap
import os
import random
import socket
import subprocess
import sys
import time

#: Stands in the log for the microseconds of what failed.
FAILED = 'failed'

#: Does one piece of work; raises OSError or MemoryError where it cannot.
Work = Callable[[], None]

_PAUSE_SECONDS = 0.1  # After a failure, so that the log does not fill up.
_FLUSH_SECONDS = 0.5


class Redis:
    """Reads keys, and writes one.

    :param keys: how many there are.
    :param size: the bytes of each.
    """

    _READS = 20

    def __init__(self, keys: str, size: str) -> None:
        self._keys, self._size = int(keys), int(size)
        self._socket = socket.create_connection(('127.0.0.1', 6379), 30)
        self._socket.sendall(f'DEBUG POPULATE {keys} key {size}\r\n'.encode())
        while not self._socket.recv(1 << 16).endswith(b'\r\n'):
            pass

    def __call__(self) -> None:
        names = [
            f'key:{random.randrange(self._keys)}' for _ in range(self._READS)
        ]
        value = os.urandom(self._size // 2).hex()
        lines = [f'SET {names[0]} {value}', *(f'GET {name}' for name in names)]
        self._socket.sendall('\r\n'.join([*lines, '']).encode())
        # "+OK", and of each key a line with its length and one with its value.
        missing = 1 + 2 * self._READS
        while missing > 0:
            answer = self._socket.recv(1 << 16)
            if not answer:
                raise ConnectionError('Redis has closed the connection')
            missing -= answer.count(b'\n')  # Its "\r" may have come before.


class Http:
    """Fetches files; nine of ten times one of the hot ones.

    :param files: how many there are: ``/0`` and so on.
    :param hot: how many of them are hot.
    """

    _HOT_SHARE = 0.9

    def __init__(self, files: str, hot: str) -> None:
        self._files, self._hot = int(files), int(hot)
        self._buffer = memoryview(bytearray(1 << 18))

    def __call__(self) -> None:
        is_hot = random.random() < self._HOT_SHARE
        begin, end = (0, self._hot) if is_hot else (self._hot, self._files)
        name = random.randrange(begin, end)
        with socket.create_connection(('127.0.0.1', 80), 30) as connection:
            connection.sendall(f'GET /{name} HTTP/1.0\r\n\r\n'.encode())
            got = 0
            while count := connection.recv_into(self._buffer):
                got += count
            if not got:
                raise ConnectionError('nginx has sent nothing')


class Memory:
    """Holds memory and reads of it; allocates some, forks, and frees it.

    :param hold_mib: what it holds, all of it written.
    :param allocate_mib: what it allocates, writes and frees in each piece of
        work.
    """

    _READS = 2000

    def __init__(self, hold_mib: str, allocate_mib: str) -> None:
        self._held = self._filled(int(hold_mib) << 20)
        self._allocated_bytes = int(allocate_mib) << 20

    def __call__(self) -> None:
        with self._filled(self._allocated_bytes):
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)
        pages = len(self._held) // mmap.PAGESIZE
        for _ in range(self._READS):
            self._held[random.randrange(pages) * mmap.PAGESIZE]

    @staticmethod
    def _filled(size_bytes: int) -> mmap.mmap:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        memory = mmap.mmap(-1, size_bytes, flags=private)
        pages = size_bytes // mmap.PAGESIZE
        memory[:: mmap.PAGESIZE] = b'.' * pages
        return memory


class Read:
    """Reads pieces of files.

    :param files: how many there are in /srv/files, of 1 MiB each.
    """

    _READS, _PIECE_BYTES = 20, 1 << 16

    def __init__(self, files: str) -> None:
        self._files = [
            os.open(f'/srv/files/{name}', os.O_RDONLY)
            for name in range(int(files))
        ]

    def __call__(self) -> None:
        for _ in range(self._READS):
            at = random.randrange((1 << 20) // self._PIECE_BYTES)
            os.pread(
                random.choice(self._files),
                self._PIECE_BYTES,
                at * self._PIECE_BYTES,
            )


class Run:
    """Runs a command.

    :param words: of the command.
    """

    def __init__(self, *words: str) -> None:
        self._words = words

    def __call__(self) -> None:
        if subprocess.run(self._words, capture_output=True).returncode:
            raise OSError(f'{self._words[0]} has failed')


#: The kinds of work, by their word on the command line.
KINDS: dict[str, Callable[..., Work]] = {
    'redis': Redis,
    'http': Http,
    'memory': Memory,
    'read': Read,
    'run': Run,
}


def attempt(work: Work) -> str:
    """Do one piece of work, and write a line about it."""
    began = time.monotonic()
    try:
        work()
        took = str(round((time.monotonic() - began) * 1e6))
    except (OSError, MemoryError):
        took = FAILED
        time.sleep(_PAUSE_SECONDS)
    return f'{time.time():.3f} {took}\n'


def main(log_name: str, kind: str, *words: str) -> None:
    """Work until somebody ends it."""
    work = KINDS[kind](*words)
    flushed = time.monotonic()
    with open(log_name, 'w') as log:
        while True:
            log.write(attempt(work))
            if time.monotonic() - flushed > _FLUSH_SECONDS:
                log.flush()
                flushed = time.monotonic()


if __name__ == '__main__':
    main(*sys.argv[1:])

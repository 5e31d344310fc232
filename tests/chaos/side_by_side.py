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

"""Several clouds at once, each in a network and a folder of its own.

A cell mostly waits; two processors carry three clouds at a time.
"""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import os
import queue
import subprocess
import sys
import threading

from tests.chaos import record
from tests.chaos.matrix import Cell
from tests.chaos.record import Failure
from tests.chaos.record import Findings
from tests.lab import layout
from tests.lab import steps

# The other clouds' addresses and bridges are not seen from in there.
_OWN_NETWORK = [
    *('unshare', '--net', '--mount', '--'),
    *('sh', '-ec', 'ip link set lo up; exec "$@"', 'cloud'),
]


class Worker:
    """A process that runs cells on a cloud of its own.

    :param number: tells it from the others.
    :param plugin: whether the computes load the plugin.
    """

    def __init__(self, number: int, plugin: bool) -> None:
        state = layout.LAB.state
        own = state.with_name(f'{state.name}-{number}')
        self.log = own.with_suffix('.log')
        words = ['-P', '-m', 'tests.chaos.worker']
        with self.log.open('wb') as log:
            self._process = subprocess.Popen(
                [
                    *_OWN_NETWORK,
                    *(sys.executable, *words, 'plugin' if plugin else 'plain'),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, 'NOVA_FREEMEM_LAB': str(own)},
            )

    def wait_up(self) -> bool:
        """Wait for its cloud, and tell whether it is up."""
        return self._read() is not None

    def run(self, cell: Cell) -> Findings | None:
        """Have a cell run.

        :returns: what was found; None where the worker has ended instead.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(f'{cell.phase.word} {cell.fault}\n')
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> Findings | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return record.from_json(line) if line else None

    def end(self) -> None:
        """Have it take its cloud down; its log stays if that fails."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self._process.wait() == 0:
            self.log.unlink()

    def interrupt(self) -> None:
        """Have it stop at once, and take its cloud down."""
        self._process.terminate()


class Clouds:
    """So many clouds, and the cells that wait for one that is free."""

    def __init__(self, count: int, plugin: bool) -> None:
        """Start none yet.

        :param count: how many.
        :param plugin: whether their computes load the plugin.
        """
        self._count = count
        self._plugin = plugin
        self._workers: list[Worker] = []
        self._waiting: collections.deque[Cell] = collections.deque()
        self._found: queue.Queue[Findings | None] = queue.Queue()
        self._is_over = False

    def run(self, cells: Iterable[Cell]) -> Iterator[Findings]:
        """Run cells, each on whichever cloud is free.

        :returns: what was found in each, as it ends.
        :raises LabError: no cloud is left to run what is left.
        """
        self._waiting.extend(cells)
        threading.Thread(target=self._start).start()
        try:
            for _ in range(self._count):
                yield from iter(self._found.get, None)
        finally:
            self._is_over = True
            for worker in self._workers:
                worker.interrupt()
        if self._waiting:
            logs = ', '.join(str(one.log) for one in self._workers)
            raise steps.LabError('run cells', f'no cloud is left; see {logs}')

    def _start(self) -> None:
        """Start one after the other: the first makes what all of them use."""
        for number in range(1, self._count + 1):
            worker = Worker(number, self._plugin)
            self._workers.append(worker)
            if self._is_over:
                worker.interrupt()
            is_up = worker.wait_up()
            do = self._keep_busy if is_up else self._end
            threading.Thread(target=do, args=(worker,)).start()

    def _keep_busy(self, worker: Worker) -> None:
        for cell in self._next_cells():
            found = worker.run(cell)
            if found is None:
                why = f'its cloud has ended; see {worker.log}'
                failure = Failure(
                    cell.phase.word, cell.fault, why, self._plugin
                )
                self._found.put(Findings({}).plus(failure))
                break
            self._found.put(found)
        self._end(worker)

    def _end(self, worker: Worker) -> None:
        worker.end()
        self._found.put(None)

    def _next_cells(self) -> Iterator[Cell]:
        with contextlib.suppress(IndexError):
            while not self._is_over:
                yield self._waiting.popleft()

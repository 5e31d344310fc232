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


"""Several clouds at once, each in a network and a directory of its own.

A cell mostly waits; two processors can run three clouds at a time.
"""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import os
import subprocess
import sys
from typing import Any

from tests.chaos import store
from tests.chaos.matrix import Cell
from tests.chaos.record import Findings
from tests.chaos.record import Inconclusive
from tests.lab import layout
from tests.lab import steps

# In there the addresses and bridges of the other clouds do not exist.
_OWN_NETWORK = [
    *('unshare', '--net', '--mount', '--'),
    *('sh', '-ec', 'ip link set lo up; exec "$@"', 'cloud'),
]


class Worker:
    """A process that runs cells on a cloud of its own."""

    def __init__(self, number: int, plugin: bool) -> None:
        """Start the process.

        :param number: tells it from the others.
        :param plugin: whether its nova-computes load the plugin.
        """
        state = layout.LAB.state
        own = state.with_name(f'{state.name}-{number}')
        self.log = own.with_suffix('.log')
        words = ['-P', '-m', 'tests.chaos.worker']
        with self.log.open('wb') as log:
            self._process = subprocess.Popen(
                [
                    *_OWN_NETWORK,
                    *(sys.executable, *words),
                    'plugin' if plugin else 'no-plugin',
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, 'NOVA_FREEMEM_LAB': str(own)},
            )

    def wait_up(self) -> bool:
        """Wait for its cloud.

        :returns: whether it is up.
        """
        return self._read() is not None

    def run(self, cell: Cell) -> Findings | None:
        """Have a cell run.

        :returns: what was found; None if the process has ended instead.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(f'{cell.phase.word} {cell.fault}\n')
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> Findings | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return store.from_json(line) if line else None

    def end(self) -> None:
        """Have it take its cloud down; its log stays if that fails."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self._process.wait() == 0:
            self.log.unlink(missing_ok=True)

    def interrupt(self) -> None:
        """Have it stop at once, and take its cloud down."""
        self._process.terminate()


class Clouds:
    """A number of clouds; each takes the next cell when it is free."""

    def __init__(self, count: int, plugin: bool) -> None:
        """Initialize the clouds; none is started.

        :param count: how many.
        :param plugin: whether their nova-computes load the plugin.
        """
        self._count = count
        self._plugin = plugin

    def run(self, cells: Iterable[Cell]) -> Iterator[Findings]:
        """Run cells, each on whichever cloud is free.

        :returns: what was found in each, as it ends.
        :raises LabError: no cloud is left to run the rest.
        """
        waiting = collections.deque(cells)
        workers: list[Worker] = []
        with futures.ThreadPoolExecutor(self._count) as pool:
            try:
                yield from self._run(waiting, workers, pool)
            except BaseException:
                for worker in workers:
                    worker.interrupt()
                    pool.submit(worker.end)
                raise
        if waiting:
            logs = ', '.join(str(one.log) for one in workers)
            raise steps.LabError('run cells', f'no cloud is left; see {logs}')

    def _run(
        self,
        waiting: collections.deque[Cell],
        workers: list[Worker],
        pool: futures.Executor,
    ) -> Iterator[Findings]:
        """Start the clouds, and keep each busy while cells wait."""
        busy: dict[futures.Future[Any], Worker] = {}
        cell_of: dict[Worker, Cell] = {}

        def start() -> None:
            worker = Worker(len(workers) + 1, self._plugin)
            workers.append(worker)
            busy[pool.submit(worker.wait_up)] = worker

        start()
        while busy:
            done, _ = futures.wait(busy, return_when=futures.FIRST_COMPLETED)
            for future in done:
                worker, found = busy.pop(future), future.result()
                cell = cell_of.pop(worker, None)
                # One after the other: the first makes what all of them use.
                if cell is None and waiting and len(workers) < self._count:
                    start()
                if found and waiting:
                    cell_of[worker] = waiting.popleft()
                    task = pool.submit(worker.run, cell_of[worker])
                    busy[task] = worker
                else:
                    pool.submit(worker.end)
                if isinstance(found, Findings):
                    yield found
                elif cell is not None:
                    yield self._inconclusive(cell, worker)

    def _inconclusive(self, cell: Cell, worker: Worker) -> Findings:
        why = f'its cloud has ended; see {worker.log}'
        return Findings({}).plus(
            Inconclusive(cell.phase.word, cell.fault, why, self._plugin)
        )

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


def run(cells: Iterable[Cell], count: int, plugin: bool) -> Iterator[Findings]:
    """Run cells, each on whichever cloud is free.

    :param count: how many clouds.
    :param plugin: whether their nova-computes load the plugin.
    :returns: what was found in each cell, as it ends.
    :raises LabError: no cloud is left to run the rest.
    """
    waiting = collections.deque(cells)
    workers: list[Worker] = []
    busy: dict[futures.Future[Any], tuple[Worker, Cell | None]] = {}
    with futures.ThreadPoolExecutor(count) as pool:
        try:
            while True:
                # One after the other: the first makes what all of them use.
                is_starting = any(cell is None for _, cell in busy.values())
                if waiting and len(workers) < count and not is_starting:
                    workers.append(Worker(len(workers) + 1, plugin))
                    task = pool.submit(workers[-1].wait_up)
                    busy[task] = (workers[-1], None)
                if not busy:
                    break
                ended, _ = futures.wait(busy, None, futures.FIRST_COMPLETED)
                for task in ended:
                    worker, cell = busy.pop(task)
                    if task.result() and waiting:
                        following = waiting.popleft()
                        next_task = pool.submit(worker.run, following)
                        busy[next_task] = (worker, following)
                    else:
                        pool.submit(worker.end)
                    if cell is not None:
                        yield task.result() or _lost(cell, worker, plugin)
        except BaseException:
            for worker in workers:
                worker.interrupt()
                pool.submit(worker.end)
            raise
    if waiting:
        logs = ', '.join(str(one.log) for one in workers)
        raise steps.LabError('run cells', f'no cloud is left; see {logs}')


def _lost(cell: Cell, worker: Worker, plugin: bool) -> Findings:
    why = f'its cloud has ended; see {worker.log}'
    return Findings({}).plus(
        Inconclusive(cell.phase.word, cell.fault, why, plugin)
    )

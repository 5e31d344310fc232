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

"""Take the lab down once the tests of this process are over."""

import atexit
from collections.abc import Callable
import pathlib
import subprocess
import sys

from tests.lab import lock
from tests.lab import processes


def at_exit(keep_databases: Callable[[], bool]) -> None:
    """Take the lab down when this process exits.

    :param keep_databases: asked then: whether the databases, the images and
        the logs are kept.
    """
    atexit.register(_down, keep_databases)


def _down(keep_databases: Callable[[], bool]) -> None:
    # In a process of its own: one that exits can start no thread.
    command = [sys.executable, '-m', 'tests.lab', 'down']
    if keep_databases():
        command.append('--keep-databases')
    lock.give_up()
    # Standard output carries the results of the tests.
    subprocess.run(
        command,
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )
    processes.reap()

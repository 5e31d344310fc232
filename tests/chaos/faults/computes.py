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


"""nova-compute is killed, and started again."""

from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import processes


class Killed(base.Fault):
    """SIGKILL, as by the kernel when memory is short.

    :param sides: ``source``, ``destination``, or both.
    """

    def __init__(self, *sides: str) -> None:
        self._sides = sides

    def inject(self, stage: Stage) -> None:
        """Kill nova-compute and the processes it has started."""
        for side in self._sides:
            processes.kill(stage.compute(side).daemon.pid_file)

    def recover(self, stage: Stage) -> None:
        """Start it again."""
        stage.start_computes()

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


"""libvirtd is restarted; the guests keep running."""

from tests.chaos.faults import base
from tests.chaos.faults import emulators
from tests.chaos.stage import Stage
from tests.lab import libvirtd
from tests.lab import processes


class Restarted(base.Fault):
    """Killed and started again, as by an upgrade that fails.

    :param side: ``source`` or ``destination``.
    """

    def __init__(self, side: str) -> None:
        self._side = side

    def inject(self, stage: Stage) -> None:
        """Kill libvirtd, and start it again."""
        host = stage.host(self._side)
        daemon = libvirtd.daemon(host.layout, host.prefix)
        processes.kill(daemon.pid_file)
        daemon.start()

    def recover(self, stage: Stage) -> None:
        """Restart nova-compute on the host, as deployment tools do.

        A guest that was lost in post-copy is started again.
        """
        processes.kill(stage.compute(self._side).daemon.pid_file)
        stage.start_computes()
        emulators.revive(stage)

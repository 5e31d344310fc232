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


"""The message broker between Nova's services is restarted."""

from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import layout
from tests.lab import processes
from tests.lab.services import broker
from tests.lab.services import settings


class Restarted(base.Fault):
    """RabbitMQ is killed, and started again."""

    def inject(self, stage: Stage) -> None:
        """Kill RabbitMQ."""
        _, rabbit = broker.daemons(settings.Settings(layout.LAB))
        processes.kill(rabbit.pid_file)

    def recover(self, stage: Stage) -> None:
        """Start it; wait until both nova-computes are up again."""
        broker.bring_up(settings.Settings(layout.LAB))
        stage.start_computes()

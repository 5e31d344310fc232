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


"""The link between the hosts is cut."""

from tests.chaos.faults import base
from tests.chaos.faults import emulators
from tests.chaos.stage import Stage
from tests.lab import network


class Cut(base.Fault):
    """Unplugged at the bridge: the sender sees no error."""

    def inject(self, stage: Stage) -> None:
        """Cut the link."""
        network.cut(stage.source.layout)

    def recover(self, stage: Stage) -> None:
        """Mend the link; start a guest that was lost in post-copy again."""
        network.mend(stage.source.layout)
        emulators.revive(stage)

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

"""Hosts that differ in all that the plugin cannot know."""

import dataclasses
import math

from nova_freemem.plan.bandwidth import KIB_PER_SECOND_PER_MBPS
from tests.simulation.model import Model

# What a transfer takes for each of its connections at most.
CONNECTION_MBPS = 12_000


@dataclasses.dataclass(frozen=True)
class Host:
    """What the plugin does not know.

    :ivar path_mbps: what the path carries
    :ivar connections: QEMU's
    :ivar inflate: what a guest releases in a second, KiB
    :ivar reclaim_share: page cache, of that
    :ivar busy_share: during a transfer, of that
    :ivar look: what QEMU looks through in a second, KiB
    :ivar far_end_share: see the model
    :ivar interface_mbps: what the interface says
    """

    path_mbps: float
    connections: int
    inflate: float
    reclaim_share: float
    busy_share: float
    look: float
    far_end_share: float
    interface_mbps: int | None

    def model(
        self, memory_kib: int, longest_seconds: float = math.inf
    ) -> Model:
        """Make the model of a guest of that size here.

        :param longest_seconds: in which the path carries all of its memory,
            whatever it carries otherwise.
        """
        mbps = min(self.path_mbps, self.connections * CONNECTION_MBPS)
        bandwidth = max(
            mbps * KIB_PER_SECOND_PER_MBPS, memory_kib / longest_seconds
        )
        return Model(
            inflate_kib_per_second=self.inflate,
            reclaim_kib_per_second=self.inflate * self.reclaim_share,
            bandwidth_kib_per_second=bandwidth,
            busy_balloon_share=self.busy_share,
            # QEMU looks at what it sends as well.
            look_kib_per_second=max(self.look, bandwidth),
            far_end_share=self.far_end_share,
            step_seconds=min(0.1, max(0.01, memory_kib / bandwidth / 200)),
        )

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

"""How soon a migration would be over that knows what the guest needs; pure.

An oracle knows without asking which pages are free and which page cache is
cold. Three things are left, which it has done at the same time, so that it
takes as long as the longest of them:

* what the guest needs crosses the path once;
* QEMU looks through all of the guest's memory;
* the guest's kernel drops the cold page cache.

Nothing can take less, and no method knows that much.
"""

import dataclasses

from tests.bench import scenarios

# What a guest needs that has just booted: the least that was ever sent of one
# of 4 GiB that had nothing else, 204 MB. It has its kernel, the agent, the
# programs of the benchmark, and what the kernel keeps of each page.
_BOOTED_MIB = 195

# A guest of 4 GiB that needs no more than that takes 1.2 s where nothing
# limits the path, 0.2 s of which the path takes: measured as the next one.
_LOOK_SECONDS_PER_GIB = 0.25

# How fast a guest's kernel drops cold page cache when it is asked to by
# memory.reclaim: measured with emulated guests on two cores.
_DROPPED_MIB_PER_SECOND = 1.6 * 1024


@dataclasses.dataclass(frozen=True)
class Oracle:
    """What an oracle would have done at the same time.

    :param needed_mib: what the guest needs.
    :param send_seconds: what the path takes to carry that.
    :param look_seconds: what QEMU takes to look through the guest's memory.
    :param drop_seconds: what the guest takes to drop its cold page cache.
    """

    needed_mib: float
    send_seconds: float
    look_seconds: float
    drop_seconds: float

    @property
    def seconds(self) -> float:
        """The whole."""
        return max(self.send_seconds, self.look_seconds, self.drop_seconds)


def of(scenario: scenarios.Scenario, memory_mib: int, mbps: float) -> Oracle:
    """Tell what an oracle would do.

    :param scenario: what the guest has done.
    :param memory_mib: the guest's memory.
    :param mbps: what the path carries, 10^6 bits a second.
    """
    needed_mib = _BOOTED_MIB + scenario.kept_share * memory_mib
    return Oracle(
        needed_mib=needed_mib,
        send_seconds=needed_mib * (1 << 20) * 8 / (mbps * 1e6),
        look_seconds=_LOOK_SECONDS_PER_GIB * memory_mib / 1024,
        drop_seconds=(
            scenario.cold_share * memory_mib / _DROPPED_MIB_PER_SECOND
        ),
    )

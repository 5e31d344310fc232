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

"""The figures that make a simulated guest and transfer behave as real ones."""

import dataclasses

MIB = 1024
GIB = 1024 * MIB


@dataclasses.dataclass(frozen=True)
class Model:
    """All figures of the simulation; each stands for something measurable.

    Those that ``tests/bench/fitting.py`` names are fitted to measured runs,
    under TCG with Linux 6.1 on two hosts of one machine; the manual's page on
    the simulation says how, and how far they are off. The bandwidth is 1 Gb/s.

    :ivar inflate_kib_per_second: free memory that a balloon releases
    :ivar reclaim_kib_per_second: page cache that it releases
    :ivar deflate_kib_per_second: memory that it restores
    :ivar report_kib_per_second: memory that free page reporting returns
    :ivar bandwidth_kib_per_second: the bandwidth of the migration network
    :ivar bandwidth_share: what a transfer gets of the bandwidth that the
                           plugin was told or has learnt
    :ivar busy_bandwidth_share: what a transfer sends while a balloon moves, of
                           what it sends without
    :ivar busy_balloon_share: what a balloon releases during a transfer, of
                              what it releases without
    :ivar look_kib_per_second: memory released during a transfer that QEMU
                               goes through again
    :ivar far_end_share: of what a balloon releases during a transfer, the
                         share that lies where the transfer has not been yet;
                         the rest lies anywhere
    :ivar downtime_seconds: what may be left to send when the guest stops
    :ivar before_job_seconds: from the start of Nova's transfer to that of
                              libvirt's job
    :ivar after_landing_seconds: from the landing to Nova's own steps there
    :ivar agent_seconds: one answer of the guest agent
    :ivar qemu_kib: what QEMU itself occupies
    :ivar watermark_kib: free memory that no allocation goes below as long
                         as there is page cache to reclaim
    :ivar step_seconds: how finely time is cut
    """

    inflate_kib_per_second: float = 577_000.0
    reclaim_kib_per_second: float = 331_000.0
    deflate_kib_per_second: float = 1_340_000.0
    report_kib_per_second: float = 640 * MIB / 2.1
    bandwidth_kib_per_second: float = 119 * MIB
    bandwidth_share: float = 0.955
    busy_bandwidth_share: float = 1.0
    busy_balloon_share: float = 0.723
    look_kib_per_second: float = 1_450_000.0
    far_end_share: float = 0.368
    downtime_seconds: float = 0.3
    before_job_seconds: float = 0.593
    after_landing_seconds: float = 1.0
    agent_seconds: float = 0.02
    qemu_kib: int = 60 * MIB
    watermark_kib: int = 16 * MIB
    step_seconds: float = 0.1

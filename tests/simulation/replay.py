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

"""A situation that was measured, simulated.

Of a situation the simulation is told what it cannot know: how much was
resident, how much of that a plain migration sent, what the guest had done
before, and the bandwidth. How long the migration takes, and what is sent where
the plugin is at work, is computed by the model and the plugin's own code.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any
from unittest import mock

from nova_freemem.plan import forecast
from nova_freemem.plan.bandwidth import KIB_PER_SECOND_PER_MBPS
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.release import stop_rules
from tests.simulation.cloud import Cloud
from tests.simulation.fake_clock import FakeClock
from tests.simulation.guest import Load
from tests.simulation.model import Model

# What guests of the benchmark have done with shares of their memory, by the
# names of a Load. A fragmented one keeps 4 KiB of each 256; the hot file took
# half of what had been freed before. ``busy`` is left out, for what plain
# sends of it is no measure of what it uses.
_SHARES: dict[str, dict[str, float]] = {
    'fresh': {},
    'full': {},
    'freed': {'freed_kib': 3 / 4},
    'fragmented': {'fragments_kib': 3 / 4 * 252 / 256},
    'cache-cold': {'cold_kib': 3 / 4},
    'cache-hot': {'freed_kib': 1 / 4, 'hot_kib': 1 / 4},
}
# What the plugin took for QEMU's look through a guest when it was measured.
_LOOK_KIB_PER_SECOND = 1.9 * 1024 * 1024

SCENARIOS = frozenset(_SHARES)


@dataclasses.dataclass(frozen=True)
class Replay:
    """A simulated migration in figures, each as the benchmark measures it.

    :ivar back_seconds: None where nothing had been released
    """

    seconds: float
    megabytes: float
    back_seconds: float | None


@dataclasses.dataclass(frozen=True)
class Situation:
    """Where something was measured, and what the simulation is told of it.

    :ivar scenario: what the guest had done
    :ivar reporting: whether it reports free pages; it has reported them
    :ivar memory_kib: what it has
    :ivar rss_kib: its resident size before
    :ivar plain_kib: what a plain migration sent of that
    :ivar migration_bandwidth_mbps: the bandwidth, as the plugin was told or
                                    had learnt it
    :ivar good_share: by how much release and transfer together had to be
                      quicker, at that time, for ``auto`` to start the transfer
    """

    scenario: str
    reporting: bool
    memory_kib: int
    rss_kib: int
    plain_kib: int
    migration_bandwidth_mbps: float
    good_share: float = 0.75

    @property
    def load(self) -> Load:
        """What the guest's memory is used for.

        What is resident and was never sent is QEMU's own, or zeros.
        """
        amounts: dict[str, int] = {}
        left_kib = self.plain_kib
        for name, share in _SHARES[self.scenario].items():
            if not (self.reporting and name == 'freed_kib'):
                amounts[name] = min(left_kib, int(share * self.memory_kib))
                left_kib -= amounts[name]
        zeros_kib = max(0, self.rss_kib - Model.qemu_kib - self.plain_kib)
        return Load(left_kib + zeros_kib, zeros_kib=zeros_kib, **amounts)

    def migrate(self, method: str, model: Model) -> Replay:
        """Migrate the guest.

        :param method: how, by the benchmark's name for it
        :param model: the figures to do it by, of any bandwidth
        """
        model = dataclasses.replace(
            model,
            bandwidth_kib_per_second=(
                self.migration_bandwidth_mbps
                * KIB_PER_SECOND_PER_MBPS
                * model.bandwidth_share
            ),
        )
        clock = FakeClock()
        with (
            mock.patch.object(threading, 'Thread', clock.thread),
            mock.patch.object(
                forecast, 'transfer_now_is_better', self._had_started
            ),
            mock.patch.object(stop_rules, 'LEAST_NEEDED_SHARE', 1.0),
        ):
            cloud = Cloud(
                clock,
                model,
                self.memory_kib,
                self.load,
                migration_bandwidth_mbps=int(self.migration_bandwidth_mbps),
                reports=self.reporting,
                policy=_policy(method),
            )
            # A host at work has seen how fast its guests release.
            cloud.know(
                ReleaseRate(
                    model.inflate_kib_per_second,
                    model.reclaim_kib_per_second,
                    model.busy_balloon_share,
                    model.look_kib_per_second,
                )
            )
            outcome = cloud.migrate()
            while cloud.guest.missing_kib:
                clock.wait(1)
                cloud.guest.check()
        was_released = bool(cloud.reporter.ends)
        return Replay(
            outcome.seconds,
            outcome.sent_kib * 1024 / 1e6,
            cloud.back_seconds if was_released else None,
        )

    def _had_started(
        self,
        left_kib: float,
        needed_kib: float,
        rate_kib_per_second: float,
        bandwidth: Bandwidth,
        rate: ReleaseRate,
        deadline_seconds: float,
    ) -> bool:
        """Decide as the plugin did when this was measured.

        It has learnt to foretell better since; what is compared here is what
        comes of a decision.
        """
        path = bandwidth.kib_per_second
        waiting_seconds = left_kib / rate_kib_per_second + needed_kib / path
        plain_seconds = (left_kib + needed_kib) / path
        together_seconds = self.memory_kib / _LOOK_KIB_PER_SECOND + max(
            needed_kib / path,
            (left_kib + needed_kib) / (path + rate_kib_per_second),
        )
        return (
            waiting_seconds >= plain_seconds
            or self.good_share * waiting_seconds >= together_seconds
        )


def _policy(method: str) -> dict[str, Any]:
    """Make a host migrate by a method of the benchmark.

    A host for which no release is worthwhile does what one does without the
    plugin. The guests were measured with a headroom of 5 %.
    """
    if method == 'plain':
        return {'min_saving_mib': 1 << 20}
    return {'mode': method, 'headroom_percent': 5}

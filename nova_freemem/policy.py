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

"""The configuration as one Policy, checked as a whole."""

from __future__ import annotations

import dataclasses

from oslo_config import cfg

from nova_freemem import conf as freemem_conf
from nova_freemem import exceptions

# Where a guest's MemTotal shrinks with its balloon, so do the thresholds of
# programs that act on little memory. What its kernel needs for sudden demands
# does not: with this much of all its memory no simulated guest was short of
# memory that asked for it as fast as measured ones do.
KERNEL_HEADROOM_PERCENT = 5


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a host releases memory of its guests; see conf.py."""

    enabled: bool
    acquire: tuple[str, ...]
    release: str
    mode: str
    reclaim: str
    headroom_percent: int
    headroom_min_mib: int
    headroom_windows_mib: int
    migration_bandwidth_mbps: int
    min_saving_mib: int
    agent_timeout_seconds: int
    deadline_seconds: int
    reconcile_interval_seconds: int
    restore_workers: int
    require_destination_trait: bool

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Policy:
        """Read ``[freemem]``.

        :param conf: with the options registered
        :returns: the policy
        :raises ConfigInvalid: a value is not valid, or two values contradict
                               each other
        """
        # All are read before one is found wrong: see conf.read.
        values = {
            option.dest: freemem_conf.read(conf, option)
            for option in freemem_conf.OPTIONS
        }
        for name, value in values.items():
            if isinstance(value, freemem_conf.WrongValue):
                raise exceptions.ConfigInvalid(
                    option=name, problem=value.problem
                )
        values['acquire'] = tuple(values['acquire'])
        policy = cls(**values)
        if not policy.acquire:
            raise exceptions.ConfigInvalid(
                option='acquire', problem='must name at least one source'
            )
        if policy.agent_timeout_seconds >= policy.deadline_seconds:
            raise exceptions.ConfigInvalid(
                option='agent_timeout_seconds',
                problem=f'{policy.agent_timeout_seconds} must be below '
                f'deadline_seconds, which is '
                f'{policy.deadline_seconds}',
            )
        return policy

    def headroom_kib(
        self,
        total_kib: int,
        windows: bool = False,
        shrunk_kib: float | None = None,
    ) -> int:
        """Return how much available memory a guest keeps.

        :param total_kib: memory of the guest
        :param windows: whether it runs Windows
        :param shrunk_kib: what its MemTotal has shrunk to by then, with its
                           balloon; None where that leaves it as it is
        :returns: KiB
        """
        floor_mib = self.headroom_min_mib
        if windows:
            floor_mib = max(floor_mib, self.headroom_windows_mib)
        least_percent = self.headroom_percent
        if shrunk_kib is not None:
            least_percent = min(least_percent, KERNEL_HEADROOM_PERCENT)
        return max(
            int(self.headroom_percent * (shrunk_kib or 0) / 100),
            total_kib * least_percent // 100,
            floor_mib * 1024,
        )

    def changes(self, before: Policy) -> str:
        """Return what differs from another policy, for people.

        :param before: the other
        :returns: such as ``enabled: False -> True``; empty if nothing does
        """
        names = [field.name for field in dataclasses.fields(self)]
        return ', '.join(
            f'{name}: {getattr(before, name)} -> {getattr(self, name)}'
            for name in names
            if getattr(before, name) != getattr(self, name)
        )

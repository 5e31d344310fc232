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

"""What every migration that leaves this host shares."""

from __future__ import annotations

import dataclasses
import functools

from oslo_config import cfg

from nova_freemem import extensions
from nova_freemem.acquire import base as acquire_base
from nova_freemem.plan import eligibility
from nova_freemem.plan.backoff import Backoff
from nova_freemem.plan.bandwidth import Bandwidths
from nova_freemem.plan.release_rate import ReleaseRates
from nova_freemem.policy import Policy
from nova_freemem.release import base as release_base
from nova_freemem.virt import interfaces


@dataclasses.dataclass(frozen=True)
class Engine:
    """The policy, the extensions, and what was learnt so far.

    :ivar policy: the host's, or a guest's
    :ivar sources: who reports what is free, in the order of preference
    :ivar releaser: how it is released
    :ivar bandwidths: what is known of the paths from this host
    :ivar release_rates: what is known of how fast guests give up memory
    :ivar backoff: guests whose releases are skipped for a while
    :ivar holds_zeros: whether this host may hold zeros of its guests
    """

    policy: Policy
    sources: tuple[acquire_base.Source, ...]
    releaser: release_base.Releaser
    bandwidths: Bandwidths
    release_rates: ReleaseRates
    backoff: Backoff
    holds_zeros: bool = False

    @classmethod
    def from_conf(
        cls,
        conf: cfg.ConfigOpts,
        address: str,
        most_mib_per_second: int = 0,
        connections: int = 1,
        permits_post_copy: bool = False,
    ) -> Engine:
        """Load what ``[freemem]`` names.

        :param conf: with the options registered
        :param address: this host's own on the migration network, or its name
                        there
        :param most_mib_per_second: what Nova lets QEMU send for one
                                    migration, 0 for no limit
        :param connections: that QEMU sends over for one migration
        :param permits_post_copy: whether Nova permits it
        :returns: the engine
        :raises ConfigInvalid: a value is out of bounds, or an extension is
                               not installed or cannot be loaded
        """
        policy = Policy.from_conf(conf)
        return cls(
            policy=policy,
            sources=tuple(
                extensions.load('acquire', name)(
                    name, policy.agent_timeout_seconds
                )
                for name in policy.acquire
            ),
            releaser=extensions.load('release', policy.release)(),
            bandwidths=Bandwidths(
                policy.migration_bandwidth_mbps,
                functools.partial(
                    interfaces.speed_mbps,
                    interfaces.resolved(address),
                    connections,
                ),
                most_mib_per_second,
            ),
            release_rates=ReleaseRates(),
            backoff=Backoff(),
            holds_zeros=eligibility.holds_zeros(
                connections, permits_post_copy
            ),
        )

    def for_guest(self, policy: Policy) -> Engine:
        """Return one for the migration of one guest.

        What was learnt is shared.

        :param policy: the guest's
        """
        return dataclasses.replace(self, policy=policy)

    def with_policy(self, policy: Policy) -> Engine:
        """Return one for the migrations that begin from now on.

        What was learnt is shared. A migration that has begun keeps the engine
        it began with.

        :param policy: it may differ in options that are mutable
        """
        self.bandwidths.configure(policy.migration_bandwidth_mbps)
        return dataclasses.replace(self, policy=policy)

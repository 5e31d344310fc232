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

"""Policy and extensions of one host, loaded once."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
from typing import Any

from oslo_config import cfg
import stevedore
from stevedore import named

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base as acquire_base
from nova_freemem.plan import backoff as backoffs
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import release_rate as release_rates
from nova_freemem.policy import Policy
from nova_freemem.release import base as release_base

ACQUIRE_NAMESPACE = 'nova_freemem.acquire'
RELEASE_NAMESPACE = 'nova_freemem.release'


@dataclasses.dataclass(frozen=True)
class Engine:
    """What every migration that leaves this host uses.

    :ivar policy: the host's
    :ivar sources: who is asked what is free, in request
    :ivar releaser: who takes it
    :ivar links: what is known of the ways from this host
    :ivar paces: what is known of how fast guests give memory
    :ivar backoff: which guests are left alone for a while
    """

    policy: Policy
    sources: tuple[acquire_base.Source, ...]
    releaser: release_base.Releaser
    links: bandwidths.Bandwidths
    paces: release_rates.ReleaseRates
    backoff: backoffs.Backoff

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, address: str) -> Engine:
        """Load what ``[freemem]`` names.

        :param conf: with the options registered
        :param address: this host's own on the migration network
        :returns: the engine
        :raises ConfigInvalid: a value is out of bounds, or an extension is
                               not installed or cannot be loaded
        """
        policy = Policy.from_conf(conf)
        return cls(
            policy=policy,
            sources=tuple(
                _load('acquire', ACQUIRE_NAMESPACE, name)(
                    name, policy.agent_timeout_seconds
                )
                for name in policy.acquire
            ),
            releaser=_load('release', RELEASE_NAMESPACE, policy.release)(),
            links=bandwidths.Bandwidths(
                policy.migration_bandwidth_mbps, address
            ),
            paces=release_rates.ReleaseRates(),
            backoff=backoffs.Backoff(clocks.Clock()),
        )


def _load(option: str, namespace: str, name: str) -> Any:
    def cannot_load(
        _manager: object, entry_point: object, fault: BaseException
    ) -> None:
        raise exceptions.ConfigInvalid(
            option=option, problem=f'{name!r} cannot be loaded: {fault!r}'
        )

    def not_installed(_names: Iterable[str]) -> None:
        installed = stevedore.ExtensionManager(namespace).entry_points_names()
        raise exceptions.ConfigInvalid(
            option=option,
            problem=f'{name!r} is not installed; there are '
            f'{", ".join(sorted(installed)) or "none"}',
        )

    manager: named.NamedExtensionManager[Any] = named.NamedExtensionManager(
        namespace,
        [name],
        on_load_failure_callback=cannot_load,
        on_missing_entrypoints_callback=not_installed,
    )
    return manager[name].plugin

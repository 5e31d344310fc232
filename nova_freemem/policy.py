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

"""What host, flavor and image say about a guest, as one Policy."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from oslo_config import cfg
from oslo_config import types
from oslo_utils import strutils

from nova_freemem import conf as freemem_conf
from nova_freemem import exceptions

# Where a guest's MemTotal shrinks with its balloon, so do the thresholds of
# programs that act on little memory. What its kernel needs for sudden demands
# does not: with this much of all its memory no simulated guest was short of
# memory that asked for it as fast as measured ones do.
KERNEL_HEADROOM_PERCENT = 5

FLAVOR_PREFIX = 'freemem:'
IMAGE_PREFIX = 'freemem_'

# Nova keeps the properties of an image, those that it does not know as well,
# in the system metadata of instances made from it, under such names.
SYSTEM_METADATA_PREFIX = 'image_' + IMAGE_PREFIX

# Options of the host that a flavor may set for its guests, by the same names.
FLAVOR_SETTINGS = (
    'enabled',
    'dry_run',
    'mode',
    'reclaim',
    'headroom_percent',
    'headroom_min_mib',
    'deadline_seconds',
)

# Those that one value can be more careful in than another.
IMAGE_SETTINGS = (
    'enabled',
    'reclaim',
    'headroom_percent',
    'headroom_min_mib',
    'deadline_seconds',
)

_OPTIONS = {option.dest: option for option in freemem_conf.OPTIONS}

# The less is released, the earlier.
_RECLAIMS = [name for name, _help in freemem_conf.RECLAIMS]


@dataclasses.dataclass(frozen=True)
class WrongSetting:
    """A setting of a flavor or an image that is ignored.

    :ivar key: the extra spec or the property
    :ivar origin: ``flavor`` or ``image``
    :ivar value: what it says
    :ivar valid: what it could be instead
    """

    key: str
    origin: str
    value: str
    valid: str


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a host releases memory of its guests, or of one of them.

    :ivar enabled_by_flavor: whether the flavor of the guest lets it
    :ivar enabled_by_image: whether the image of the guest lets it

    The others are options: see conf.py.
    """

    enabled: bool
    dry_run: bool
    acquire: tuple[str, ...]
    release: tuple[str, ...]
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
    metrics_file: str | None
    enabled_by_flavor: bool = True
    enabled_by_image: bool = True

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
        for name in ('acquire', 'release'):
            values[name] = tuple(values[name])
        policy = cls(**values)
        if not policy.acquire:
            raise exceptions.ConfigInvalid(
                option='acquire', problem='must name at least one source'
            )
        if not 1 <= len(policy.release) <= 2:
            raise exceptions.ConfigInvalid(
                option='release', problem='must name one extension or two'
            )
        if policy.agent_timeout_seconds >= policy.deadline_seconds:
            raise exceptions.ConfigInvalid(
                option='agent_timeout_seconds',
                problem=f'{policy.agent_timeout_seconds} must be below '
                f'deadline_seconds, which is '
                f'{policy.deadline_seconds}',
            )
        return policy

    def for_guest(
        self,
        extra_specs: Mapping[str, str | None],
        system_metadata: Mapping[str, str | None],
    ) -> tuple[Policy, list[WrongSetting]]:
        """Return the policy of one guest of this host.

        Its flavor may change anything within what the host permits. An image
        can be a user's own: it may only be more careful.

        :param extra_specs: of the guest's flavor
        :param system_metadata: of Nova's instance, with the properties of the
                                image that the guest was made from
        :returns: its policy, and what is ignored for it
        """
        if not self.enabled:
            return self, []
        flavor, wrong = _settings(
            'flavor', FLAVOR_PREFIX, FLAVOR_SETTINGS, extra_specs
        )
        # Others that begin so are not looked at: a user can make many.
        properties = {
            IMAGE_PREFIX + name: system_metadata[key]
            for name in IMAGE_SETTINGS
            if (key := SYSTEM_METADATA_PREFIX + name) in system_metadata
        }
        image, wrong_in_image = _settings(
            'image', IMAGE_PREFIX, IMAGE_SETTINGS, properties
        )
        policy = self._of_flavor(flavor)._of_image(image)
        return policy, wrong + wrong_in_image

    def _of_flavor(self, settings: dict[str, Any]) -> Policy:
        return dataclasses.replace(
            self,
            dry_run=self.dry_run or settings.get('dry_run', False),
            mode=settings.get('mode', self.mode),
            reclaim=settings.get('reclaim', self.reclaim),
            headroom_percent=settings.get(
                'headroom_percent', self.headroom_percent
            ),
            headroom_min_mib=settings.get(
                'headroom_min_mib', self.headroom_min_mib
            ),
            # How long a transfer may wait is the host's to say.
            deadline_seconds=min(
                self.deadline_seconds,
                settings.get('deadline_seconds', self.deadline_seconds),
            ),
            enabled_by_flavor=settings.get('enabled', True),
        )

    def _of_image(self, settings: dict[str, Any]) -> Policy:
        return dataclasses.replace(
            self,
            reclaim=min(
                self.reclaim,
                settings.get('reclaim', self.reclaim),
                key=_RECLAIMS.index,
            ),
            headroom_percent=max(
                self.headroom_percent, settings.get('headroom_percent', 0)
            ),
            headroom_min_mib=max(
                self.headroom_min_mib, settings.get('headroom_min_mib', 0)
            ),
            deadline_seconds=min(
                self.deadline_seconds,
                settings.get('deadline_seconds', self.deadline_seconds),
            ),
            enabled_by_image=settings.get('enabled', True),
        )

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


def _settings(
    origin: str,
    prefix: str,
    names: tuple[str, ...],
    texts: Mapping[str, str | None],
) -> tuple[dict[str, Any], list[WrongSetting]]:
    """Read what a flavor or an image says.

    :returns: the valid settings by name, and those that are ignored
    """
    settings = {}
    wrong = []
    for key, text in sorted(texts.items()):
        if not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix)
        if name not in names:
            valid = ', '.join(prefix + one for one in names)
            wrong.append(WrongSetting(key, origin, str(text), valid))
            continue
        try:
            settings[name] = _value(_OPTIONS[name], str(text))
        except ValueError:
            valid = _valid(_OPTIONS[name])
            wrong.append(WrongSetting(key, origin, str(text), valid))
    return settings, wrong


def _value(option: cfg.Opt, text: str) -> Any:
    """Read a value as nova-api does, which validates those of flavors.

    :raises ValueError: it is not valid
    """
    if isinstance(option.type, types.Boolean):
        return strutils.bool_from_string(text, strict=True)
    if isinstance(option.type, types.Integer):
        return option.type(int(text))
    return option.type(text)


def _valid(option: cfg.Opt) -> str:
    """Say what is valid."""
    kind: Any = option.type
    if isinstance(kind, types.Boolean):
        return 'true or false'
    if isinstance(kind, types.Integer):
        return f'a whole number from {kind.min} to {kind.max}'
    return ', '.join(kind.choices)

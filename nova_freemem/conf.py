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

"""The options of ``[freemem]``."""

from __future__ import annotations

import copy
import dataclasses
import os
from typing import Any

from oslo_config import cfg
from oslo_config import types

GROUP = 'freemem'

LONGEST_DEADLINE_SECONDS = 3600

MODES = [
    (
        'auto',
        'Whichever makes the whole migration shortest: before the transfer, '
        'during it, or not at all.',
    ),
    (
        'before',
        'Before the transfer starts. Sends the fewest bytes and takes '
        'longer: for migration networks that are the bottleneck of many '
        'migrations.',
    ),
    ('during', 'While the transfer runs.'),
]
RECLAIMS = [
    ('free', 'Memory that the guest uses for nothing at all.'),
    (
        'cold',
        "Free memory, and page cache that is clean and that the guest's own "
        'kernel calls inactive.',
    ),
    (
        'available',
        'All memory that the guest reports as available. The guest reads '
        'page cache that it was using again afterwards.',
    ),
]


class MetricsFile(types.ConfigType):
    """The path of a file that node_exporter reads."""

    def __init__(self) -> None:
        """Initialize the type."""
        super().__init__(type_name='path that ends in .prom')

    def __call__(self, value: Any) -> str:
        """Return the path.

        :raises ValueError: node_exporter would not read it
        """
        path = str(value)
        if not (os.path.isabs(path) and path.endswith('.prom')):
            raise ValueError(
                f'{path[:80]!r} is not an absolute path that ends in .prom'
            )
        return path

    def _formatter(self, value: Any) -> str:
        return str(value)


OPTIONS = [
    cfg.BoolOpt(
        'enabled',
        mutable=True,
        default=False,
        help='Release memory that guests do not need in their live '
        'migrations from this host. If false, nothing is released from them. '
        'Memory of guests that arrive with less is restored in either case, '
        'wherever nova-compute loads the plugin.',
    ),
    cfg.BoolOpt(
        'dry_run',
        mutable=True,
        default=False,
        help='If enabled is true, decide what to release from a guest, log it '
        'together with what that would save, and release nothing.',
    ),
    cfg.ListOpt(
        'acquire',
        default=['guest_agent', 'balloon_stats'],
        help='Sources that are asked how much memory a guest can spare, in '
        'this order, until one answers. Names of extensions in the '
        'namespace nova_freemem.acquire.',
    ),
    cfg.StrOpt(
        'mode',
        mutable=True,
        default='auto',
        choices=MODES,
        help='When memory is released, relative to the transfer.',
    ),
    cfg.StrOpt(
        'reclaim',
        mutable=True,
        default='cold',
        choices=RECLAIMS,
        help='Which memory is released.',
    ),
    cfg.ListOpt(
        'release',
        default=['guest_reclaim', 'balloon'],
        help='How memory is released. The last name is that of what shrinks '
        'the guest. One before it, if any, is that of what has the guest drop '
        'cold page cache first; where a guest cannot, it is shrunk without. '
        'Names of extensions in the namespace nova_freemem.release.',
    ),
    cfg.IntOpt(
        'headroom_percent',
        mutable=True,
        min=1,
        max=90,
        default=12,
        help="Share of the guest's MemTotal, in percent, that it keeps "
        'available in a release. With autodeflate, as with Nova 32 and later, '
        'MemTotal is all memory of the guest. Without it MemTotal shrinks '
        'with the balloon; then at least 5 % of all its memory are kept as '
        'well, or this share if it is smaller. Never less than '
        'headroom_min_mib. The default is above the 10 % at which earlyoom '
        'and systemd-oomd act and below which the kubelet is often told to '
        'evict. Give guests more where a program in them acts earlier.',
    ),
    cfg.IntOpt(
        'headroom_min_mib',
        mutable=True,
        min=32,
        max=1024 * 1024,
        default=128,
        help='Memory that a guest keeps available in a release, in MiB, '
        'whatever its size. The larger of this and headroom_percent counts.',
    ),
    cfg.IntOpt(
        'headroom_windows_mib',
        mutable=True,
        min=32,
        max=1024 * 1024,
        default=1024,
        help='The same as headroom_min_mib, for guests whose image has '
        'os_type=windows. Their balloon drivers have been seen to crash near '
        '400 MiB.',
    ),
    cfg.IntOpt(
        'migration_bandwidth_mbps',
        mutable=True,
        min=0,
        max=10**6,
        default=0,
        help='Bandwidth of the migration network for one migration that is '
        'alone on it, in Mbit/s (10^6 bits a second). Migrations that leave '
        'the host at the same time are expected to share it, unless they were '
        'seen to get more. With 0 the bandwidth is the one seen '
        'in the last migrations to the same host, or else in those to other '
        'hosts. It is never taken to be more than [libvirt] '
        'live_migration_bandwidth, if that is set.',
    ),
    cfg.IntOpt(
        'min_saving_mib',
        mutable=True,
        min=1,
        max=1024 * 1024,
        default=64,
        help='Skip the release if it is expected to save less than this from '
        'being transferred, in MiB.',
    ),
    cfg.IntOpt(
        'agent_timeout_seconds',
        min=1,
        max=60,
        default=5,
        help='Longest wait for one answer of the guest agent, in seconds. '
        'Must be below deadline_seconds.',
    ),
    cfg.IntOpt(
        'deadline_seconds',
        mutable=True,
        min=2,
        max=LONGEST_DEADLINE_SECONDS,
        default=120,
        help='Longest time that acquiring and releasing together may delay a '
        'transfer, in seconds. What has been released by then stays '
        'released, and the transfer starts.',
    ),
    cfg.IntOpt(
        'reconcile_interval_seconds',
        min=5,
        max=3600,
        default=60,
        help='How often all guests of this host are checked for outstanding '
        'memory, in seconds. They are also checked when nova-compute starts, '
        'and each guest is when it starts to run on this host.',
    ),
    cfg.IntOpt(
        'restore_workers',
        min=1,
        max=64,
        default=4,
        help='How many guests are checked at the same time, and have '
        'outstanding memory restored. A check that libvirt or QEMU has not '
        'answered for 10 s does not count towards this: up to 8 more are '
        'started in the place of such checks.',
    ),
    cfg.BoolOpt(
        'require_destination_trait',
        mutable=True,
        default=True,
        help='Release memory only if the resource provider of the destination '
        'has the trait CUSTOM_NOVA_FREEMEM in Placement, by which a '
        'nova-compute that has loaded the plugin says that it restores '
        'memory. If false, memory is released for any destination: where '
        'the plugin is missing, a guest keeps running with less until it is '
        'restored by hand.',
    ),
    cfg.Opt(
        'metrics_file',
        type=MetricsFile(),
        sample_default='/var/lib/prometheus/node-exporter/nova_freemem.prom',
        help='File to which nova-compute writes counters for the textfile '
        'collector of node_exporter of Prometheus, an absolute path that ends '
        'in .prom. If it is not set, none is written.',
    ),
]


@dataclasses.dataclass(frozen=True)
class WrongValue:
    """What the value of an option is read as that is not valid.

    :ivar text: the value as it stands in the configuration
    :ivar problem: what is wrong, with the value and what is valid
    """

    text: str
    problem: str

    def __str__(self) -> str:
        """Return the value as it stands in the configuration."""
        return self.text


class _Unreadable(WrongValue):
    """A wrong value that overrides the one in the configuration."""


class Lenient(types.ConfigType):
    """A type that reads what another refuses as a :class:`WrongValue`.

    Nova logs the values of all registered options as it starts and on
    SIGHUP, and would end at one that cannot be read.
    """

    def __init__(self, strict: types.ConfigType) -> None:
        """Initialize the type.

        :param strict: says what is valid
        """
        super().__init__(type_name=strict.type_name)
        self._strict = strict

    def __call__(self, value: Any) -> Any:
        """Return the value, or what is wrong with it."""
        if isinstance(value, WrongValue):
            return value
        try:
            valid = self._strict(value)
        except ValueError as error:
            return WrongValue(str(value), self._problem(value, error))
        if valid is None:  # as an empty number is read
            return WrongValue(str(value), self._problem(value, 'is empty'))
        return valid

    def _problem(self, value: Any, problem: object) -> str:
        if isinstance(self._strict, types.Integer):
            # oslo.config names one bound, and not the value beyond it.
            return (
                f'{str(value)[:40]!r} is not a whole number from '
                f'{self._strict.min} to {self._strict.max}'
            )
        return str(problem)

    def _formatter(self, value: Any) -> Any:
        return self._strict._formatter(value)


def _lenient(option: cfg.Opt) -> cfg.Opt:
    lenient = copy.copy(option)
    lenient.type = Lenient(option.type)
    return lenient


# To register the same ones again does no harm, and their copies would.
_REGISTERED = [_lenient(option) for option in OPTIONS]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options, so that no value of theirs can stop Nova.

    The values are then the ones that the service's own options would have:
    whatever its command line, files, directories, environment variables and
    other sources are.

    :param conf: the service's configuration; it may have been read already
    """
    conf.register_opts(_REGISTERED, group=GROUP)
    # What cannot be read any more must not end Nova either.
    conf.register_mutate_hook(_read_all)


def read(conf: cfg.ConfigOpts, option: cfg.Opt) -> Any:
    """Return the value of an option.

    One that refers to an option that does not exist, as ``$name``, cannot be
    read at all. It is overridden then, for Nova reads it as well, and would
    end.

    :param conf: with the options registered
    :param option: one of them
    :returns: the value, or a :class:`WrongValue`
    """
    try:
        value = conf[GROUP][option.dest]
        if isinstance(value, _Unreadable):
            # It may have been corrected since.
            conf.clear_override(option.dest, GROUP)
            value = conf[GROUP][option.dest]
    except Exception as error:  # whatever it is, Nova would meet it as well
        value = _Unreadable('', f'cannot be read: {error}')
        conf.set_override(option.dest, value, GROUP)
    return value


def _read_all(conf: cfg.ConfigOpts, _changes: object = None) -> None:
    for option in OPTIONS:
        read(conf, option)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options, for the sample configuration and the manual."""
    return [(GROUP, OPTIONS)]

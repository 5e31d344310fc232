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

from collections.abc import Sequence

from oslo_config import cfg

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

OPTIONS = [
    cfg.BoolOpt(
        'enabled',
        default=False,
        help='Release memory that guests do not need in their live '
        'migrations from this host. If false, nothing is released from them. '
        'Memory of guests that arrive with less is restored in either case, '
        'wherever nova-compute loads the plugin.',
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
        default='auto',
        choices=MODES,
        help='When memory is released, relative to the transfer.',
    ),
    cfg.StrOpt(
        'reclaim',
        default='cold',
        choices=RECLAIMS,
        help='Which memory is released.',
    ),
    cfg.StrOpt(
        'release',
        default='balloon',
        help='How memory is released. Name of an extension in the namespace '
        'nova_freemem.release.',
    ),
    cfg.IntOpt(
        'headroom_percent',
        min=1,
        max=90,
        default=5,
        help='Memory that a guest keeps available in a release, in percent '
        'of its memory. The larger of this and headroom_min_mib counts. Give '
        'guests more than a program that acts on low memory, such as '
        'earlyoom or the kubelet, has as its threshold.',
    ),
    cfg.IntOpt(
        'headroom_min_mib',
        min=32,
        max=1024 * 1024,
        default=128,
        help='Memory that a guest keeps available in a release, in MiB, '
        'whatever its size. The larger of this and headroom_percent counts.',
    ),
    cfg.IntOpt(
        'headroom_windows_mib',
        min=32,
        max=1024 * 1024,
        default=1024,
        help='The same as headroom_min_mib, for guests whose image has '
        'os_type=windows. Their balloon drivers have been seen to crash near '
        '400 MiB.',
    ),
    cfg.IntOpt(
        'migration_bandwidth_mbps',
        min=0,
        max=10**6,
        default=0,
        help='Bandwidth of the migration network for one migration, in '
        'Mbit/s (10^6 bits a second). With 0 the bandwidth is the one seen '
        'in the last migrations to the same host, or else in those to other '
        'hosts. It is never taken to be more than [libvirt] '
        'live_migration_bandwidth, if that is set.',
    ),
    cfg.IntOpt(
        'min_saving_mib',
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
        'answered for 10 s does not count towards this: up to 16 more are '
        'started in the place of such checks.',
    ),
    cfg.BoolOpt(
        'require_destination_trait',
        default=True,
        help='Release memory only if the resource provider of the destination '
        'has the trait CUSTOM_NOVA_FREEMEM in Placement, by which a '
        'nova-compute that has loaded the plugin says that it restores '
        'memory. If false, memory is released for any destination: where '
        'the plugin is missing, a guest keeps running with less until it is '
        'restored by hand.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options.

    :param conf: where to register them
    """
    conf.register_opts(OPTIONS, group=GROUP)


def read_apart(
    conf: cfg.ConfigOpts, options: Sequence[cfg.Opt] = tuple(OPTIONS)
) -> cfg.ConfigOpts:
    """Read options of ``[freemem]`` without registering them with Nova.

    Nova logs the values of all registered options as it starts, and would
    exit at a wrong one. So these are registered with Nova only after they
    have been checked.

    :param conf: the service's configuration, its files read
    :param options: those to read
    :returns: the same files read once more, with these options alone
    """
    apart = cfg.ConfigOpts()
    apart.register_opts(options, group=GROUP)
    apart(
        [],
        default_config_files=conf.config_file or [],
        default_config_dirs=conf.config_dir or [],
    )
    return apart


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options, for the sample configuration and the manual."""
    return [(GROUP, OPTIONS)]

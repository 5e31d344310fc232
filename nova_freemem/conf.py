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

import contextlib
from typing import Any

from oslo_config import cfg
from oslo_config import types

GROUP = 'freemem'

MODES = [
    (
        'auto',
        'For the shortest migration as a whole: before the transfer '
        'starts where the guest gives much faster than the network '
        'carries, while it runs where the guest gives more slowly, and '
        'not at all where neither would shorten it.',
    ),
    (
        'before',
        'Before the transfer starts. Sends the fewest bytes and takes '
        'longer: for migration networks that are the bottleneck of '
        'many migrations.',
    ),
    ('during', 'While the transfer runs.'),
]
RECLAIMS = [
    ('free', 'Memory that the guest uses for nothing at all.'),
    (
        'cold',
        "That, and page cache that is clean and that the guest's own "
        'kernel calls inactive.',
    ),
    (
        'available',
        'All that the guest could give without swapping; page '
        'cache in use too, which it reads again afterwards.',
    ),
]


class WholeNumber(types.Integer):
    """An integer whose refusal names the value and both its bounds."""

    def __call__(self, value: Any) -> Any:
        """Read a value.

        :param value: as written in the file
        :returns: the number
        :raises ValueError: it is none, or out of bounds
        """
        with contextlib.suppress(TypeError, ValueError):
            number = super().__call__(value)
            if number is not None:  # as it is for an empty value
                return number
        raise ValueError(
            f'{str(value)[:40]!r} is not a whole number from '
            f'{self.min} to {self.max}'
        )


OPTIONS = [
    cfg.BoolOpt(
        'enabled',
        default=False,
        help='Release memory that a guest does not use before its live '
        'migration, and give it back at the destination. Where this is '
        "false, nova-compute runs Nova's own driver, untouched. A "
        'destination where this is false receives guests that stay '
        'shrunk until somebody gives the memory back: enable it on all '
        'hosts guests migrate to before it is enabled where they '
        'migrate from.',
    ),
    cfg.ListOpt(
        'acquire',
        default=['guest_agent', 'balloon_stats'],
        help='Who is asked what a guest has free, in this order, until one '
        'answers. Names of extensions in the namespace '
        'nova_freemem.acquire.',
    ),
    cfg.StrOpt(
        'mode', default='auto', choices=MODES, help='When memory is released.'
    ),
    cfg.StrOpt(
        'reclaim', default='cold', choices=RECLAIMS, help='What is released.'
    ),
    cfg.StrOpt(
        'release',
        default='balloon',
        help='How memory is taken from a guest. Name of an extension in the '
        'namespace nova_freemem.release.',
    ),
    cfg.Opt(
        'headroom_percent',
        type=WholeNumber(min=1, max=90),
        default=5,
        help='Available memory that a guest keeps, in percent of its memory. '
        'The larger of this and headroom_min_mib counts.',
    ),
    cfg.Opt(
        'headroom_min_mib',
        type=WholeNumber(min=32, max=1024 * 1024),
        default=128,
        help='Available memory that a guest keeps, in MiB, whatever its '
        'size. The larger of this and headroom_percent counts.',
    ),
    cfg.Opt(
        'headroom_windows_mib',
        type=WholeNumber(min=32, max=1024 * 1024),
        default=1024,
        help='The same as headroom_min_mib, for guests whose image says '
        'os_type=windows. Their balloon drivers have been seen to '
        'crash near 400 MiB.',
    ),
    cfg.Opt(
        'migration_bandwidth_mbps',
        type=WholeNumber(min=0, max=10**6),
        default=0,
        help='What the migration network carries for one migration, in '
        '10^6 bits a second. 0: what the last migrations to the same '
        'host were seen to carry, or else the speed of the interface '
        'with the address live_migration_inbound_addr or my_ip, or '
        'else 1000.',
    ),
    cfg.Opt(
        'min_saving_mib',
        type=WholeNumber(min=1, max=1024 * 1024),
        default=64,
        help='Smallest saving, in MiB that need not be transferred, for '
        'which a guest is bothered at all.',
    ),
    cfg.Opt(
        'agent_timeout_seconds',
        type=WholeNumber(min=1, max=60),
        default=5,
        help='Longest wait, in seconds, for one answer of the guest agent. '
        'Must be below deadline_seconds.',
    ),
    cfg.Opt(
        'deadline_seconds',
        type=WholeNumber(min=2, max=3600),
        default=120,
        help='Longest time, in seconds, that asking and releasing together '
        'may keep a migration waiting. When it passes, what has been '
        'released by then stays released and the transfer starts.',
    ),
    cfg.Opt(
        'reconcile_interval_seconds',
        type=WholeNumber(min=5, max=3600),
        default=60,
        help='How often, in seconds, all guests of this host are looked '
        'through for one that is still owed memory, because something '
        'failed. That is also done as nova-compute starts and as soon '
        'as a guest runs here.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known.

    :param conf: where to register them
    """
    conf.register_opts(OPTIONS, group=GROUP)


def read_apart(conf: cfg.ConfigOpts) -> cfg.ConfigOpts:
    """Read the options without making them known to Nova.

    Nova logs the values of all options it knows as it starts, and would end
    at a wrong one. So it gets to know these once they are found to be right.

    :param conf: the service's configuration, its files read
    :returns: the same files read once more, with our options alone
    """
    apart = cfg.ConfigOpts()
    register_opts(apart)
    apart(
        [],
        default_config_files=conf.config_file or [],
        default_config_dirs=conf.config_dir or [],
    )
    return apart


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """List the options, for the sample configuration and the manual."""
    return [(GROUP, OPTIONS)]

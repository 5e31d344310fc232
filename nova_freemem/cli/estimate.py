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

"""``nova-freemem estimate``: what live migrations from this host cost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

from cliff import lister
from oslo_config import cfg

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem import extensions
from nova_freemem import trait
from nova_freemem.acquire import base as acquire
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.cli import base
from nova_freemem.cli import compute_host
from nova_freemem.cli import costs
from nova_freemem.cli import nova_conf
from nova_freemem.cli import placement
from nova_freemem.plan import eligibility
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.bandwidth import Bandwidths
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.policy import Policy
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from nova_freemem.virt import interfaces
from nova_freemem.virt.memory_stats import MemoryStats


class Estimate(compute_host.ComputeHostCommand, lister.Lister):
    """Estimate what live migrations of guests of this host cost.

    Each guest is asked as a migration would, and nothing is released. Seconds
    and MiB are those of a migration without the plugin (plain_seconds,
    plain_mib) and with it. Several guests have a line with their sum.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--all', action='store_true', help='All guests of this host.'
        )
        parser.add_argument(
            '--to',
            metavar='HOST',
            help='The destination, by its name in "openstack hypervisor '
            'list": whether it restores memory is asked of Placement.',
        )
        parser.add_argument(
            'server', nargs='*', help='UUIDs of servers on this host.'
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
        """See :meth:`cliff.lister.Lister.take_action`."""
        if parsed_args.all == bool(parsed_args.server):
            raise base.Refused(
                problem='Specify either --all or one or more servers.'
            )
        asking = _Asking(self.here, parsed_args.to)
        host = self.here.host
        found = []
        for uuid in host.uuids() if parsed_args.all else parsed_args.server:
            try:
                found.append(asking.of(host.guest(uuid)))
            except exceptions.DomainGone:
                if not parsed_args.all:
                    raise
        asking.warn()
        rows = [one.row for one in found]
        if len(found) > 1:
            rows.append(costs.total(found))
        return costs.COLUMNS, [
            tuple(base.shown(value, parsed_args) for value in row)
            for row in rows
        ]


class _Asking:
    """What is asked of each guest, and of whom else."""

    def __init__(
        self, here: compute_host.ComputeHost, dest: str | None
    ) -> None:
        """Initialize it.

        :param here: this host
        :param dest: the destination, None for any that restores memory
        :raises Refused: the configuration cannot be read or is not valid, or
                         libvirt cannot be reached
        """
        conf = here.conf
        try:
            self._policy = Policy.from_conf(conf)
            self._sources = [
                extensions.load('acquire', name)(
                    name, self._policy.agent_timeout_seconds
                )
                for name in self._policy.acquire
            ]
        except exceptions.ConfigInvalid as error:
            raise base.Refused(problem=str(error)) from None
        self._clock = clocks.Clock()
        self._bandwidth = _bandwidth(conf, self._policy, dest, self._clock)
        self._refused = _refused(here, self._policy, dest)
        self._holds_zeros = eligibility.holds_zeros(
            *(
                nova_conf.value(conf, name, 'libvirt')
                for name in (
                    'live_migration_parallel_connections',
                    'live_migration_permit_post_copy',
                )
            )
        )

    def warn(self) -> None:
        """Say what the figures do not count with, beside them."""
        if not self._policy.enabled:
            base.print_error(
                '[freemem] enabled is false on this host: the figures are '
                'those of a host where it is true.'
            )
        if not self._bandwidth.is_known:
            base.print_error(
                f'The bandwidth is {self._bandwidth}. With '
                '[freemem] migration_bandwidth_mbps, what one migration gets '
                'of the network, the figures are of your network.'
            )

    def of(self, guest: guests.Guest) -> costs.Estimate:
        """Ask one guest.

        :param guest: the guest
        :raises DomainGone: it is not, or no longer, on this host
        :raises LibvirtError: its description could not be read
        """
        xml = guest.xml()
        memory_kib = domain_xml.memory_kib(xml)
        # What is wrong in a flavor is in the log of nova-compute.
        policy, _wrong = dataclasses.replace(
            self._policy, enabled=True
        ).for_guest(domain_xml.extra_specs(xml), {})
        stats: MemoryStats | None = None
        memory: FreeMemory | Skip | None = None
        eligible: Eligible | Skip
        try:
            guest.need_no_job()
            stats = guest.memory_stats()
            eligible = self._eligible(guest, stats)
            if isinstance(eligible, Eligible):
                stats = guest.fresh_memory_stats(self._clock)
                if stats is not None:
                    memory = self._acquired(guest, memory_kib, stats)
        except exceptions.DomainGone:
            raise
        except exceptions.DomainBusy as error:
            eligible = Skip(Reason.DOMAIN_BUSY, str(error))
        except exceptions.LibvirtError as error:
            eligible = Skip(Reason.ERROR, str(error))
        return costs.of_guest(
            guest.uuid,
            memory_kib,
            eligible,
            stats,
            memory,
            policy,
            self._bandwidth,
            self._refused,
        )

    def _eligible(
        self, guest: guests.Guest, stats: MemoryStats | None
    ) -> Eligible | Skip:
        if guest.read_metadata() is not None:
            return Skip(Reason.OUTSTANDING_MEMORY)
        xml = guest.xml()
        return eligibility.examine(
            guest.is_running(),
            xml,
            stats,
            'windows' if domain_xml.runs_windows(xml) else None,
            self._holds_zeros,
        )

    def _acquired(
        self, guest: guests.Guest, memory_kib: int, stats: MemoryStats
    ) -> FreeMemory | Skip:
        try:
            return acquire.acquire_from(
                self._sources,
                guest,
                memory_kib,
                stats,
                self._clock,
                clocks.Deadline(self._clock, self._policy.deadline_seconds),
            )
        except exceptions.SourceUnavailable as error:
            return Skip(Reason.NO_SOURCE, str(error))


def _bandwidth(
    conf: cfg.ConfigOpts,
    policy: Policy,
    dest: str | None,
    clock: clocks.Clock,
) -> Bandwidth:
    """Return what is known of the path without having migrated anything."""
    value = functools.partial(nova_conf.value, conf, group='libvirt')
    address = value('live_migration_inbound_addr') or nova_conf.value(
        conf, 'my_ip'
    )
    return Bandwidths(
        policy.migration_bandwidth_mbps,
        functools.partial(
            interfaces.speed_mbps,
            interfaces.resolved(address) if address else frozenset(),
            value('live_migration_parallel_connections'),
        ),
        value('live_migration_bandwidth'),
    ).to(dest or '', clock.now())


def _refused(
    here: compute_host.ComputeHost, policy: Policy, dest: str | None
) -> Skip | None:
    """Return why nothing would be released for a destination."""
    if dest is None:
        return None
    if dest == here.host.name():
        return Skip(Reason.SAME_HOST)
    if not policy.require_destination_trait:
        return None
    try:
        is_ready = trait.is_reported(here.placement.get, dest)
    except (placement.Unreachable, RuntimeError) as error:
        return Skip(Reason.DESTINATION_NOT_READY, str(error))
    if is_ready:
        return None
    return Skip(
        Reason.DESTINATION_NOT_READY,
        f'{dest} has no trait {trait.TRAIT} in Placement',
    )

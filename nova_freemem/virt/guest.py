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

"""One guest as libvirt has it.

This is the only module that calls libvirt on a domain.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import enum
import json
from typing import Any

import libvirt
import libvirt_qemu
from lxml import etree

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.virt import domain_xml
from nova_freemem.virt import swap
from nova_freemem.virt import tpool
from nova_freemem.virt import validation
from nova_freemem.virt.errors import AGENT_ERRORS
from nova_freemem.virt.errors import JOB_ERRORS
from nova_freemem.virt.errors import IncomingMigration
from nova_freemem.virt.errors import MetadataAbsent
from nova_freemem.virt.errors import NotUnderstood
from nova_freemem.virt.errors import translated
from nova_freemem.virt.errors import understood
from nova_freemem.virt.memory_stats import MemoryStats
from nova_freemem.virt.transfer_progress import TransferProgress

METADATA_URI = 'urn:nova-freemem:journal'
METADATA_PREFIX = 'freemem'

# setMemoryStatsPeriod(0) and then N makes the balloon ask the guest at once;
# the answer was there after 2 ms. A guest that takes longer than this has no
# balloon driver, or an unreliable one.
FRESH_STATS_SECONDS = 1.0
FRESH_STATS_POLL_SECONDS = 0.005

# A report in answer to a request is current for as long as this: the second
# source need not ask again what was asked a moment before.
FRESH_STATS_LAST_SECONDS = 0.1

# During a transfer a guest reports once a second; QEMU's stamp is of a whole
# second, and a busy guest answers late.
RECENT_STATS_SECONDS = 3.0

# QEMU answers a request to its monitor within milliseconds. One that has not
# answered another's for so long is not asked in addition.
OCCUPIED_MILLISECONDS = 1000

# Why a domain is paused, or runs, while its memory is being transferred.
_PAUSED_IN_FLIGHT = (
    'VIR_DOMAIN_PAUSED_MIGRATION',
    'VIR_DOMAIN_PAUSED_STARTING_UP',
    'VIR_DOMAIN_PAUSED_POSTCOPY',
    'VIR_DOMAIN_PAUSED_POSTCOPY_FAILED',
)
_RUNNING_IN_FLIGHT = (
    'VIR_DOMAIN_RUNNING_POSTCOPY',
    'VIR_DOMAIN_RUNNING_POSTCOPY_FAILED',
)

# Other jobs of a domain, a backup for one, are no migration.
_MIGRATION_OUT = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT


class Situation(enum.Enum):
    """Whether memory of a guest can be restored; the value is for people."""

    RUNNING = 'running'
    PAUSED = 'paused'
    HAS_JOB = 'migrating or in another job'


class Outgoing(enum.Enum):
    """How far a migration away from this host is, as libvirt shows it."""

    NONE = 'not under way'
    STARTING = 'QEMU is being started at the destination'
    COPYING_DISKS = 'disks are being copied'
    SENDING_MEMORY = 'memory is being sent'


class Guest:
    """One guest's libvirt domain: a few calls, with errors translated."""

    def __init__(self, handle: Any) -> None:
        """Initialize the guest.

        :param handle: a ``libvirt.virDomain``, or Nova's proxy of one
        """
        self._handle = tpool.own(handle)
        self._fresh: tuple[MemoryStats, float] | None = None
        self._reports_oom_kills = True
        self._balloon_alias: str | None = None

    @property
    def uuid(self) -> str:
        """The UUID of the domain, which is that of the Nova instance."""
        return str(self._handle.UUIDString())

    def is_running(self) -> bool:
        """Return whether the guest runs, and is neither paused nor off."""
        with translated('read the state'):
            return bool(self._handle.state()[0] == libvirt.VIR_DOMAIN_RUNNING)

    def is_persistent(self) -> bool:
        """Return whether the domain has a persistent definition.

        Nova removes that of a running guest while it copies one of its disks,
        for a live snapshot and as it swaps a volume, and defines the domain
        again afterwards (``_live_snapshot`` and ``_swap_volume`` in
        nova/virt/libvirt/driver.py). Meanwhile libvirt refuses a call that is
        to change the definition as well, whole
        (virDomainObjUpdateModificationImpact() in src/conf/domain_conf.c).
        """
        with translated('read whether the domain is persistent'):
            return bool(self._handle.isPersistent())

    def situation(self) -> Situation:
        """Return whether the guest is running, paused, or has a job.

        A QEMU that has not answered somebody's request for a second is one
        that has a job.

        :raises DomainBusy: its job blocks the query; raised after 30 s
        """
        with translated('read the state'):
            state, reason = self._handle.state()[:2]
        running = state == libvirt.VIR_DOMAIN_RUNNING
        reasons = _RUNNING_IN_FLIGHT if running else _PAUSED_IN_FLIGHT
        if state in (
            libvirt.VIR_DOMAIN_RUNNING,
            libvirt.VIR_DOMAIN_PAUSED,
        ) and reason in [
            getattr(libvirt, name)
            for name in reasons
            if hasattr(libvirt, name)
        ]:
            return Situation.HAS_JOB
        if self._is_occupied() or self._has_job():
            return Situation.HAS_JOB
        return Situation.RUNNING if running else Situation.PAUSED

    def need_no_job(self) -> None:
        """See that libvirt's calls that change something do not wait.

        A job that libvirt does not show as one, such as a call to a QEMU that
        does not answer, is seen here once it has lasted for a second.

        :raises AnotherJob: another job holds the domain
        """
        if self.situation() is Situation.HAS_JOB:
            raise exceptions.AnotherJob()

    def _is_occupied(self) -> bool:
        """Return whether a request to QEMU's monitor is not answered.

        libvirt knows without a job, and without QEMU.
        """
        with translated('read the state of the monitor'):
            state, _details, milliseconds = self._handle.controlInfo()
        return bool(
            state == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED
            and milliseconds >= OCCUPIED_MILLISECONDS
        )

    def _has_job(self) -> bool:
        try:
            with translated('read the job statistics', JOB_ERRORS):
                stats = self._handle.jobStats()
        except IncomingMigration:
            return True
        return bool(stats['type'] != libvirt.VIR_DOMAIN_JOB_NONE)

    def xml(self, *, definition: bool = False) -> etree._Element:
        """Read the live domain XML.

        :param definition: read the persistent definition instead
        :returns: its root
        :raises LibvirtError: it could not be read
        """
        doing = 'read the XML of the domain'
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE if definition else 0
        with translated(doing), understood(doing):
            return validation.xml(self._handle.XMLDesc(flags))

    def memory_stats(self) -> MemoryStats | None:
        """Read the balloon's statistics as libvirt has them.

        The size and the RSS are current; what the guest reports can be as
        old as the statistics period.

        :returns: the statistics, or None where there is no balloon
        """
        with translated('read the memory statistics'):
            stats = MemoryStats.from_libvirt(self._handle.memoryStats())
        if stats is None or stats.rss_kib is None:
            return stats
        swapped_kib = tpool.call(swap.swapped_kib, self.uuid)
        return dataclasses.replace(stats, rss_kib=stats.rss_kib + swapped_kib)

    def fresh_memory_stats(self, clock: clocks.Clock) -> MemoryStats | None:
        """Make the guest report its statistics now, and read them.

        The statistics period is set back to what it was; where it was off,
        to what the definition says, because a process that is killed in
        here leaves it off.

        QEMU stamps a report with whole seconds, so that alone does not tell
        one that came a moment before the request from the answer to it. But
        it keeps a report as it is until the next one replaces all of it
        (balloon_stats_poll_cb() and virtio_balloon_receive_stats() in
        hw/virtio/virtio-balloon.c): a report that differs from the one before
        the request, in the second or in any figure, came after it. That is
        the usual case, and takes milliseconds. Where a guest reports the same
        figures again within the second, it is asked once more in the next.

        While a job is under way, a migration for one, the guest cannot be
        asked: what it reports on its own, each statistics period, has to do.

        :param clock: for the wait, 2 s at most
        :returns: what the guest reported after this call, or less than
                  0.1 s before it in answer to another, or less than 3 s
                  before it while a job is under way; None where the guest
                  did not report in time, or there is no balloon
        """
        if self._fresh is not None:
            answer, at_seconds = self._fresh
            if clock.now() - at_seconds < FRESH_STATS_LAST_SECONDS:
                return answer
        before = self.memory_stats()
        if before is None:
            return None
        if self._has_job():
            return _recent(before, clock.wall())
        stats = self._reported_after(before, clock)
        if stats is not None:
            self._fresh = (stats, clock.now())
        return stats

    def _reported_after(
        self, before: MemoryStats, clock: clocks.Clock
    ) -> MemoryStats | None:
        now_seconds = clock.wall()
        with self._kept_stats_period_seconds() as period_seconds:
            if before.last_update_seconds == int(now_seconds):
                stats = self._request_report(
                    before,
                    period_seconds,
                    clock,
                    int(now_seconds)
                    + 1
                    - now_seconds
                    + FRESH_STATS_POLL_SECONDS,
                )
                if stats is not None:
                    return stats
            return self._request_report(
                before, period_seconds, clock, FRESH_STATS_SECONDS
            )

    @contextlib.contextmanager
    def _kept_stats_period_seconds(self) -> Iterator[int]:
        seconds = domain_xml.stats_period_seconds(
            self.xml()
        ) or domain_xml.stats_period_seconds(self.xml(definition=True))
        busy = False
        try:
            yield seconds
        except exceptions.DomainBusy:
            busy = True  # setting it back would wait for 30 s once more
            raise
        finally:
            if not busy:
                self.set_stats_period_seconds(seconds)

    def _request_report(
        self,
        before: MemoryStats,
        period_seconds: int,
        clock: clocks.Clock,
        wait_seconds: float,
    ) -> MemoryStats | None:
        """Make QEMU ask the guest, and return what it reports in time."""
        self.set_stats_period_seconds(0)
        self.set_stats_period_seconds(period_seconds or 1)
        deadline = clocks.Deadline(clock, wait_seconds)
        while not deadline.passed():
            stats = self.memory_stats()
            if stats is None:
                return None
            if stats.last_update_seconds and not stats.is_same_report(before):
                return stats
            clock.wait(min(FRESH_STATS_POLL_SECONDS, deadline.left_seconds()))
        return None

    def set_stats_period_seconds(
        self, seconds: int, *, definition: bool = False
    ) -> None:
        """Set how often the balloon driver sends its statistics.

        :param seconds: the period, 0 for never
        :param definition: set it in the persistent definition as well
        :raises DomainBusy: a migration is under way; raised after 30 s
        """
        with translated('set the statistics period'):
            self._handle.setMemoryStatsPeriod(seconds, _affect(definition))

    def set_balloon_kib(
        self, target_kib: int, *, definition: bool = False
    ) -> None:
        """Set the target of the balloon, which it reaches later or never.

        :param target_kib: memory the guest is to have
        :param definition: set it in the persistent definition as well
        :raises OperationInvalid: no balloon, the guest is not running, or it
                                  has no persistent definition
        :raises DomainBusy: a migration is under way; raised after 30 s
        :raises TargetRefused: zero, or above the domain's maximum
        """
        with translated('set the balloon'):
            self._handle.setMemoryFlags(target_kib, _affect(definition))

    def steer_balloon_kib(self, target_kib: int) -> None:
        """Set the target of the balloon while a migration is under way.

        libvirt's own call waits for the migration to end, so this goes to
        QEMU's monitor.

        :param target_kib: memory the guest is to have
        :raises LibvirtError: libvirt or QEMU refused
        """
        self._ask_monitor(
            'set the balloon during the transfer',
            'balloon',
            value=target_kib * 1024,
        )

    def oom_kills(self) -> int | None:
        """Read how many processes its kernel killed for want of memory.

        Linux 6.12 and later report it with the other statistics of the
        balloon. libvirt passes it on under no name, so QEMU's monitor is
        asked, as in :meth:`steer_balloon_kib`. Where it is not reported, it is
        asked for once.

        :returns: since the guest booted; None where it is not reported
        :raises DomainBusy: another job kept QEMU from being asked; raised
                            after 30 s, and the next call would wait as well
        """
        if not self._reports_oom_kills:
            return None
        try:
            kills = self._ask_oom_kills()
        except NotUnderstood:
            kills = None
        except exceptions.DomainBusy:
            raise
        except exceptions.LibvirtError:
            return None  # There was no answer: it may report it.
        self._reports_oom_kills = kills is not None
        return kills

    def _ask_oom_kills(self) -> int | None:
        doing = 'read the statistics of the balloon'
        if self._balloon_alias is None:
            self._balloon_alias = domain_xml.balloon_alias(self.xml())
        if self._balloon_alias is None:
            return None
        answer = self._ask_monitor(
            doing,
            'qom-get',
            path=f'/machine/peripheral/{self._balloon_alias}',
            property='guest-stats',
        )
        with understood(doing):
            if not isinstance(answer, dict) or not isinstance(
                answer.get('stats'), dict
            ):
                raise ValueError(answer)
            return validation.amount(answer['stats'].get('stat-oom-kills'))

    def _ask_monitor(self, doing: str, execute: str, **arguments: Any) -> Any:
        """Have QEMU do something that libvirt has no call for.

        libvirt notes that in its log once for each start of a domain
        ("tainted: custom-monitor"), and nothing else changes.

        :param doing: what is being done, for messages
        :param execute: the command of its monitor
        :param arguments: the command's
        :returns: what it returned
        :raises LibvirtError: libvirt or QEMU refused
        """
        command = json.dumps({'execute': execute, 'arguments': arguments})
        with translated(doing), understood(doing):
            reply = tpool.call(
                libvirt_qemu.qemuMonitorCommand, self._handle, command, 0
            )
            answer = validation.from_json(reply)
            if not isinstance(answer, dict) or 'return' not in answer:
                raise ValueError(reply)
            return answer['return']

    def transfer_progress(self) -> TransferProgress | None:
        """Read how far the migration under way is.

        :returns: the progress, None where no migration is under way
        """
        with translated('read the job statistics'):
            return TransferProgress.from_libvirt(self._handle.jobStats())

    def outgoing_migration(self) -> Outgoing:
        """Return how far a migration away from this host is.

        :raises LibvirtError: it could not be read
        """
        with translated('read the job statistics'):
            stats = self._handle.jobStats()
        if stats['type'] == libvirt.VIR_DOMAIN_JOB_NONE or (
            stats.get('operation', _MIGRATION_OUT) != _MIGRATION_OUT
        ):
            return Outgoing.NONE
        if validation.amount(stats.get('memory_processed')):
            return Outgoing.SENDING_MEMORY
        if validation.amount(stats.get('disk_processed')):
            return Outgoing.COPYING_DISKS
        return Outgoing.STARTING

    def is_arriving(self) -> bool:
        """Return whether the guest is being migrated to this host.

        :raises LibvirtError: it could not be read
        """
        try:
            with translated('read the job statistics', JOB_ERRORS):
                self._handle.jobStats()
        except IncomingMigration:
            return True
        return False

    def agent_command(self, command: str, timeout_seconds: int) -> str:
        """Send one command to the QEMU guest agent.

        :param command: the command, JSON
        :param timeout_seconds: how long to wait for the answer, at least 1
        :returns: the answer as the agent gave it, not validated
        :raises AgentUnresponsive: no channel, no agent, or no answer in time
        :raises AgentCommandRefused: the command is blocked, unknown, or
                                     failed
        """
        doing = 'call the guest agent'
        try:
            with translated(doing, AGENT_ERRORS):
                return str(
                    tpool.call(
                        libvirt_qemu.qemuAgentCommand,
                        self._handle,
                        command,
                        timeout_seconds,
                        0,
                    )
                )
        except UnicodeDecodeError:
            raise exceptions.AgentUnresponsive(
                doing=doing, error='the answer is not UTF-8'
            ) from None

    def read_metadata(self) -> str | None:
        """Read our element of the live metadata, None where absent."""
        try:
            with translated('read the metadata'):
                return str(
                    self._handle.metadata(
                        libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                        METADATA_URI,
                        libvirt.VIR_DOMAIN_AFFECT_LIVE,
                    )
                )
        except MetadataAbsent:
            return None

    def write_metadata(self, element: str) -> None:
        """Write our element into the live metadata, which migrates as well.

        :param element: XML
        """
        self._set_metadata(element, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def erase_metadata(self) -> None:
        """Remove our element from the live and the persistent metadata."""
        self._set_metadata(
            None,
            libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        )

    def _set_metadata(self, element: str | None, flags: int) -> None:
        with (
            contextlib.suppress(MetadataAbsent),
            translated('write the metadata'),
        ):
            self._handle.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                element,
                METADATA_PREFIX,
                METADATA_URI,
                flags,
            )


def _recent(stats: MemoryStats, now_seconds: float) -> MemoryStats | None:
    """Return statistics that the guest has reported lately, else None."""
    if (
        stats.last_update_seconds is None
        or now_seconds - stats.last_update_seconds > RECENT_STATS_SECONDS
    ):
        return None
    return stats


def _affect(definition: bool) -> int:
    flags = int(libvirt.VIR_DOMAIN_AFFECT_LIVE)
    if definition:
        flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
    return flags

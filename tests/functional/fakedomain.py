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

"""What a fake libvirt domain can do: agent, balloon, migration.

It raises the errors libvirt raises where one of them is missing, and while a
migration runs.
"""

from collections.abc import Iterator
import contextlib
import json
import threading
import time
from typing import Any
from urllib import parse

from lxml import etree
from nova.tests.fixtures import libvirt as nova_fake

from nova_freemem import exceptions
from tests.functional import fakedefinition
from tests.functional.fakedefinition import error

#: No agent runs in the guest, or it has died.
NOT_RUNNING = error(
    'VIR_ERR_AGENT_UNRESPONSIVE',
    'Guest agent is not responding: QEMU guest agent is not connected',
)

#: It took the command and says nothing.
HUNG = error(
    'VIR_ERR_AGENT_COMMAND_TIMEOUT',
    'Guest agent command timed out: guest agent did not answer',
)

# What libvirt calls the figures that a balloon driver tells.
STATISTICS = {
    'total_kib': 'available',
    'free_kib': 'unused',
    'available_kib': 'usable',
    'page_cache_kib': 'disk_caches',
    'swapped_out_kib': 'swap_out',
}


class Domain(fakedefinition.DefinedDomain):
    """A domain whose guest can be asked, shrunk and moved."""

    def __init__(self, connection: Any, xml: str, **kwargs: Any) -> None:
        super().__init__(connection, xml, **kwargs)
        self._reports = 0
        self._reported_at = 0
        self._sample = self._told() if self.period_seconds else {}
        self._job_type = nova_fake.VIR_DOMAIN_JOB_NONE
        self._sent_bytes = 0
        self._disks_bytes = self._disks_left_bytes = 0
        #: Set when somebody has cancelled the migration under way.
        self.cancelled = threading.Event()
        #: Set when it was forced to complete: paused, or in post-copy.
        self.forced = threading.Event()
        #: How it was forced, and what memory the guest had then.
        self.forced_by: list[tuple[str, int]] = []

    # The guest agent

    def agent_command(self, command: str, timeout: int) -> str:
        """What ``libvirt_qemu.qemuAgentCommand`` does."""
        self._must_run()
        self._called('qemuAgentCommand', command)
        channel = 'devices/channel/target[@name="org.qemu.guest_agent.0"]'
        if self.live_xml.find(channel) is None:
            raise error(
                'VIR_ERR_ARGUMENT_UNSUPPORTED',
                'argument unsupported: QEMU guest agent is not configured',
            )
        if self._state == nova_fake.VIR_DOMAIN_PAUSED:
            raise error(
                'VIR_ERR_OPERATION_INVALID',
                'Requested operation is not valid: domain is not running',
            )
        guest = self.guest
        try:
            return guest.agent.reply(command, guest, guest.clock, timeout)
        except exceptions.AgentUnresponsive:
            raise HUNG from None
        except exceptions.AgentCommandRefused as refusal:
            raise error(
                'VIR_ERR_AGENT_COMMAND_FAILED',
                f'unable to execute QEMU agent command: {refusal}',
            ) from None

    # The balloon

    @property
    def period_seconds(self) -> int:
        """How often its balloon driver tells; 0 for never."""
        stats = self.live_xml.find('devices/memballoon/stats')
        return 0 if stats is None else int(stats.get('period'))

    @period_seconds.setter
    def period_seconds(self, period: int) -> None:
        balloon = self.live_xml.find('devices/memballoon')
        for stats in balloon.findall('stats'):
            balloon.remove(stats)
        if period:
            etree.SubElement(balloon, 'stats', period=str(period))

    def _has_balloon(self) -> bool:
        balloon = self.live_xml.find('devices/memballoon')
        return balloon is not None and balloon.get('model') != 'none'

    def info(self) -> list[int]:
        """State, maximum, balloon, virtual CPUs, CPU time."""
        self._must_exist()
        info = super().info()
        info[2] = self.guest.actual_kib if self.isActive() else info[2]
        return info

    def memoryStats(self) -> dict[str, int]:
        """The balloon as it is now; the guest's own figures as last told."""
        self._must_run()
        self._called('memoryStats')
        self.guest.check()
        if self.period_seconds == 1:
            self._sample = self._told() or self._sample
        stats = {'rss': self.guest.rss_kib}
        if self._has_balloon():
            stats |= {'actual': self.guest.actual_kib, 'last_update': 0}
            stats |= self._sample
        return stats

    def forget_statistics(self) -> None:
        """As it was before its balloon driver told anything."""
        self._sample = {}

    def age_statistics(self, seconds: int) -> None:
        """Make what its balloon driver told older than it is."""
        self._sample['last_update'] -= seconds

    def setMemoryStatsPeriod(self, period: int, flags: int = 0) -> int:
        """Ask the balloon driver for a sample now and every so often."""
        self._change('setMemoryStatsPeriod', period, flags)
        self.definitions(flags)  # Those it is to change must be there.
        if not self._has_balloon():
            raise error(
                'VIR_ERR_INTERNAL_ERROR',
                'internal error: No memory balloon device configured',
            )
        self.period_seconds = period
        if period:
            self._sample = self._told() or self._sample
        return 0

    def _told(self) -> dict[str, int]:
        """What its balloon driver tells when it is asked; {} for nothing."""
        if not self.guest.has_driver:
            return {}
        told = self.guest.statistics()
        self._reports += 1
        # A second passes for the guest with each look at it.
        self._reported_at = max(int(time.time()), self._reported_at + 1)
        return {
            'last_update': self._reported_at,
            'minor_fault': self._reports,
        } | {
            theirs: told[ours]
            for ours, theirs in STATISTICS.items()
            if told[ours] is not None
        }

    def monitor_command(self, command: str) -> str:
        """What ``libvirt_qemu.qemuMonitorCommand`` does: ``balloon``."""
        self._must_run()
        self._called('qemuMonitorCommand', command)
        request = json.loads(command)
        assert request['execute'] == 'balloon', command
        self.guest.target_kib = request['arguments']['value'] // 1024
        return '{"return": {}}'

    def setMemoryFlags(self, memory: int, flags: int = 0) -> int:
        """Set the balloon's target, live, persistent or both."""
        self._change('setMemoryFlags', memory, flags)
        if not 0 < memory <= self.guest.memory_kib:
            raise error(
                'VIR_ERR_INVALID_ARG',
                'invalid argument: cannot set memory higher than max memory',
            )
        for definition in self.definitions(flags):
            if definition is not self.live_xml:
                fakedefinition.set_current_memory(definition, memory)
            elif self._has_balloon():
                self.guest.target_kib = memory
            else:
                raise error(
                    'VIR_ERR_OPERATION_INVALID',
                    'Requested operation is not valid: Unable to change '
                    'memory of active domain without the balloon device',
                )
        return 0

    def setMemory(self, memory: int) -> int:
        """Set the balloon's target in the running domain."""
        return self.setMemoryFlags(memory, nova_fake.VIR_DOMAIN_AFFECT_LIVE)

    # The migration

    def migrateToURI3(
        self, dconnuri: str, params: dict[str, Any], flags: int
    ) -> int:
        """Move the guest to another host, as its script says."""
        host = parse.urlsplit(dconnuri).hostname
        if host not in self._connection.hosts:
            raise error(
                'VIR_ERR_SYSTEM_ERROR',
                f"unable to connect to server at '{host}:16509'",
            )
        self._connection.before_job(self)
        with self._job():
            self._connection.transfer(self)
            if self.cancelled.is_set():
                raise error(
                    'VIR_ERR_OPERATION_ABORTED',
                    'operation aborted: migration out: canceled by client',
                )
        self._land(self._connection.hosts[host], params)
        self.undefine()
        self._state = nova_fake.VIR_DOMAIN_SHUTOFF
        return 0

    @contextlib.contextmanager
    def _job(self) -> Iterator[None]:
        self.cancelled.clear()
        self._sent_bytes = 4096 if self._connection.sends_at_once else 0
        self._job_type = nova_fake.VIR_DOMAIN_JOB_UNBOUNDED
        try:
            yield
        finally:
            self._job_type = nova_fake.VIR_DOMAIN_JOB_NONE

    def _land(self, there: Any, params: dict[str, Any]) -> None:
        landed = there.createXML(params['destination_xml'], 0)
        landed.guest = self.guest
        landed._sample = {}
        landed._transient = False
        landed.persistent_xml = etree.fromstring(params['persistent_xml'])

    def abortJob(self) -> int:
        """Cancel the migration under way."""
        if self._job_type == nova_fake.VIR_DOMAIN_JOB_NONE:
            raise error(
                'VIR_ERR_OPERATION_INVALID',
                'Requested operation is not valid: no job is active',
            )
        self.cancelled.set()
        return 0

    def controlInfo(self, flags: int = 0) -> list[int]:
        """See ``libvirt.virDomain.controlInfo``: QEMU answers at once."""
        return [0, 0, 0]

    def jobStats(self, flags: int = 0) -> dict[str, int]:
        """The job under way, which is a migration to another host."""
        self._must_exist()
        if self._job_type == nova_fake.VIR_DOMAIN_JOB_NONE:
            return {'type': self._job_type}
        return {
            'type': self._job_type,
            'operation': nova_fake.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
            'memory_processed': self._sent_bytes,
            'disk_total': self._disks_bytes,
            'disk_processed': self._disks_bytes - self._disks_left_bytes,
            'disk_remaining': self._disks_left_bytes,
        }

    def copy_disks(self, total_bytes: int, left_bytes: int) -> None:
        """Have the transfer copy disks, before it sends memory."""
        self._disks_bytes, self._disks_left_bytes = total_bytes, left_bytes

    def send(self) -> None:
        """Have the transfer send its first page."""
        self._sent_bytes = 4096

    def migrateStartPostCopy(self, flags: int = 0) -> int:
        """Switch the migration under way to post-copy."""
        if not self._sent_bytes:
            raise error(
                'VIR_ERR_INTERNAL_ERROR',
                "internal error: unable to execute QEMU command 'migrate-"
                "start-postcopy': Enable postcopy with migrate_set_capability "
                'before the start of migration',
            )
        self.forced_by.append(('post-copy', self.guest.actual_kib))
        self.forced.set()
        return 0

    def suspend(self) -> None:
        """Pause the guest."""
        super().suspend()
        if self._job_type != nova_fake.VIR_DOMAIN_JOB_NONE:
            self.forced_by.append(('pause', self.guest.actual_kib))
            self.forced.set()

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


"""One look at a guest on one host."""

from typing import Any

import libvirt
from lxml import etree

from nova_freemem.virt import guest as guests
from tests.chaos.phases import State

_STATES = {
    (
        libvirt.VIR_DOMAIN_RUNNING,
        libvirt.VIR_DOMAIN_RUNNING_POSTCOPY,
    ): State.POST_COPY,
    (
        libvirt.VIR_DOMAIN_PAUSED,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
    ): State.POST_COPY,
    (
        libvirt.VIR_DOMAIN_PAUSED,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
    ): State.POST_COPY,
    (
        libvirt.VIR_DOMAIN_PAUSED,
        libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
    ): State.ARRIVING,
}


def state(domain: libvirt.virDomain, arrives: bool) -> State:
    """Read a guest's state on one host.

    :param arrives: whether it is on its way to this host.
    """
    number, reason = domain.state()
    if (number, reason) in _STATES:
        return _STATES[number, reason]
    if number == libvirt.VIR_DOMAIN_RUNNING:
        return State.RUNNING
    if number == libvirt.VIR_DOMAIN_PAUSED:
        if reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION:
            return State.ARRIVING if arrives else State.SWITCHING
        return State.PAUSED
    return State.OFF


def detail(domain: libvirt.virDomain) -> dict[str, Any]:
    """Read the rest of a guest on one host."""
    memory = domain.memoryStats()
    job = domain.jobStats()
    return {
        'balloon_kib': memory.get('actual'),
        'stats_updated_at': memory.get('last_update') or None,
        'journal_entry': guests.Guest(domain).read_metadata() is not None,
        'sent': job.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PROCESSED, 0) > 0,
    }


def definition_kib(domain: libvirt.virDomain) -> int:
    """Read what a guest would have at its next start."""
    description = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    return int(etree.fromstring(description).findtext('currentMemory', '0'))

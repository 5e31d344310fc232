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


"""What a guest, libvirt and Nova report before and after a fault."""

import contextlib
import datetime
import pathlib
import re

import libvirt
from lxml import etree
from openstack import connection
from openstack import exceptions as sdk_exceptions

from nova_freemem import exceptions
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from tests.chaos import record
from tests.chaos import stage as stages
from tests.lab import guest as lab_guest
from tests.lab import layout
from tests.lab import servers
from tests.lab import witness

# The lines of a traceback name no request.
_PLUGIN_LINE = re.compile(
    r' (?P<level>WARNING|ERROR) nova_freemem\S* \[(?:-|None|req-)[^]]*\]'
    r' (?P<message>.*)'
)
_LONGEST_LINE = 240


def question(
    guest: lab_guest.Guest, before: record.Account | None = None
) -> record.Account:
    """Ask a guest through its agent, and libvirt.

    :param before: its account before the fault; a guest that has booted
        since is told to hold memory again.
    """
    if before is not None and guest.boot_id() != before.boot_id:
        guest.hold(stages.HELD_MIB, stages.REWRITTEN_PAGES_PER_SECOND)
    return record.Account(
        **vars(witness.question(guest)),
        period_seconds=(
            _period_seconds(guest.domain, 0),
            _period_seconds(guest.domain, libvirt.VIR_DOMAIN_XML_INACTIVE),
        ),
        oom_kills=_oom_kills(guest),
    )


def _period_seconds(domain: libvirt.virDomain, flags: int) -> int:
    return domain_xml.stats_period_seconds(
        etree.fromstring(domain.XMLDesc(flags))
    )


def _oom_kills(guest: lab_guest.Guest) -> int:
    lines = guest.do('cat', '/proc/vmstat').splitlines()
    figures = dict(line.split() for line in lines)
    return int(figures['oom_kill'])


def has_journal_entry(
    stage: stages.Stage, server: servers.Server | None = None
) -> bool:
    """Tell whether a guest has a journal entry, where it runs."""
    for _, handle in stage.running(server):
        with contextlib.suppress(exceptions.FreememError):
            if guests.Guest(handle).read_metadata() is not None:
                return True
    return False


def nova(
    api: connection.Connection, server_id: str, asked_at: datetime.datetime
) -> record.Nova:
    """Ask Nova and Placement about a server and its last migration.

    :param asked_at: when that migration was requested.
    """
    try:
        server = api.compute.get_server(server_id)
    except sdk_exceptions.NotFoundException:
        server = None
    since = asked_at.strftime('%Y-%m-%dT%H:%M:%S')
    latest = max(
        (
            one
            for one in api.compute.migrations(server_id=server_id)
            if one.created_at >= since
        ),
        key=lambda one: one.id,
        default=None,
    )
    consumers = {'server': server_id}
    if latest:
        consumers['migration'] = latest.uuid
    return record.Nova(
        status=None if server is None else server.status,
        task=None if server is None else server.task_state,
        host=None if server is None else server.compute_host,
        migration=latest and latest.status,
        allocations={
            f'{who} on {host}': mib
            for who, consumer in consumers.items()
            for host, mib in allocations(api, consumer).items()
        },
    )


def allocations(api: connection.Connection, consumer: str) -> dict[str, int]:
    """Read the allocations of a consumer in Placement: MiB by host."""
    names = {one.id: one.name for one in api.placement.resource_providers()}
    answer = api.placement.get(f'/allocations/{consumer}').json()
    return {
        names[provider]: given['resources'].get('MEMORY_MB', 0)
        for provider, given in answer['allocations'].items()
    }


class Logs:
    """What both nova-computes log from now on."""

    def __init__(self) -> None:
        self._ends = {file: _size(file) for file in map(_log, layout.HOSTS)}

    def warnings(self) -> tuple[str, ...]:
        """List the warnings and errors of the plugin since."""
        found = []
        for file, end in self._ends.items():
            host = file.name.partition('-')[0]
            with file.open('rb') as stream:
                stream.seek(end)
                text = stream.read().decode(errors='replace')
            found += [f'{host}: {line}' for line in plugin_warnings(text)]
        return tuple(found)


def plugin_warnings(log: str) -> list[str]:
    """Find the plugin's warnings and errors, without tracebacks; pure."""
    return [
        f'{match["level"]} {match["message"]}'[:_LONGEST_LINE]
        for match in map(_PLUGIN_LINE.search, log.splitlines())
        if match
    ]


def _log(host: str) -> pathlib.Path:
    return layout.LAB.log / f'{host}-nova-compute.log'


def _size(file: pathlib.Path) -> int:
    return file.stat().st_size if file.exists() else 0

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

"""What has to be true of the cloud after each test of tempest."""

from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import dataclasses
from typing import Any

from openstack import connection

from nova_freemem.virt import host as hosts
from tests.lab import layout
from tests.lab import room
from tests.lab import steps

_MICROVERSION = '2.80'
_RELEASE = 'compute_freemem_release'
_SKIP = 'compute_freemem_skip_'
_PREPARED = 'compute_pre_live_migration'
# The reconciler looks at each guest once in 60 s.
_RESTORE_SECONDS = 90
_EVENT_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Request:
    """A live migration that was asked for.

    :param reached_driver: whether Nova's driver was called with it.
    :param decisions: the events that say what the plugin decided.
    """

    reached_driver: bool
    decisions: tuple[str, ...]


def read_request(events: Iterable[Mapping[str, Any]]) -> Request:
    """Read the events of a live migration.

    The source calls the driver once the destination has prepared itself.
    """
    events = list(events)
    return Request(
        reached_driver=any(
            event['event'] == _PREPARED and event['result'] == 'Success'
            for event in events
        ),
        decisions=tuple(
            event['event']
            for event in events
            if event['event'] == _RELEASE or event['event'].startswith(_SKIP)
        ),
    )


def wrong_decisions(request: Request, plugin: bool) -> list[str]:
    """Compare the decisions on a migration with what they have to be.

    :param plugin: whether both hosts have the plugin.
    :returns: what is wrong, one sentence each.
    """
    expected = 1 if plugin and request.reached_driver else 0
    if len(request.decisions) == expected:
        return []
    there = ', '.join(request.decisions) or 'none'
    return [f'{expected} decisions were expected of a migration: {there}']


def errors_of_ours(log: str) -> list[str]:
    """Find errors that the plugin has logged.

    :param log: of nova-compute.
    """
    return [
        line
        for line in log.splitlines()
        if ' ERROR nova_freemem' in line or ' CRITICAL nova_freemem' in line
    ]


class Cloud:
    """What has happened on the lab's cloud since the last look at it."""

    def __init__(self, api: connection.Connection, plugin: bool) -> None:
        """Initialize with what has happened so far.

        :param api: the administrator's.
        :param plugin: whether both hosts have the plugin.
        """
        self._api = api
        self._plugin = plugin
        self._latest = 0
        self._seen: set[str] = set()
        self._offsets: dict[str, int] = {}
        self._new_requests()
        self._new_log()

    def look(self) -> tuple[list[Request], list[str]]:
        """Look at what has happened since.

        :returns: the live migrations that were asked for, and what is wrong,
            one sentence each.
        """
        wrong = self._journal_entries()
        requests = [self._settled(url) for url in self._new_requests()]
        for request in requests:
            wrong += wrong_decisions(request, self._plugin)
        return requests, wrong + errors_of_ours(self._new_log())

    def _new_requests(self) -> list[str]:
        """Find the live migrations that were asked for since the last time.

        :returns: where Nova's API has the events of each.
        """
        new = [one for one in self._migrations() if one['id'] > self._latest]
        self._latest = max((one['id'] for one in new), default=self._latest)
        found = []
        for server in {one['instance_uuid'] for one in new}:
            actions = f'/servers/{server}/os-instance-actions'
            found += [
                f'{actions}/{action["request_id"]}'
                for action in self._get(actions)['instanceActions']
                if action['action'] == 'live-migration'
            ]
        found = [url for url in found if url not in self._seen]
        self._seen.update(found)
        return found

    def _settled(self, url: str) -> Request:
        """Read a request once its decision is there.

        Nova is told of events beside the migration.
        """
        # What is wrong when the time is up, the caller says.
        with contextlib.suppress(TimeoutError):
            steps.wait_for(
                lambda: not wrong_decisions(self._read(url), self._plugin),
                'the decision on a migration',
                _EVENT_SECONDS,
            )
        return self._read(url)

    def _read(self, url: str) -> Request:
        return read_request(self._get(url)['instanceAction']['events'])

    def _migrations(self) -> list[dict[str, Any]]:
        url = '/os-migrations?migration_type=live-migration'
        found: list[dict[str, Any]] = self._get(url)['migrations']
        return found

    def _get(self, url: str) -> Any:
        answer = self._api.compute.get(url, microversion=_MICROVERSION)
        return answer.json()

    def _journal_entries(self) -> list[str]:
        """Wait until no domain has a journal entry.

        :returns: those that stay.
        """
        try:
            steps.wait_for(
                lambda: not _with_journal_entry(),
                'the end of all journal entries',
                _RESTORE_SECONDS,
            )
        except TimeoutError:
            return [
                f'{name} has a journal entry' for name in _with_journal_entry()
            ]
        return []

    def _new_log(self) -> str:
        """Return what the nova-computes have logged since the last time."""
        new = ''
        for host in layout.HOSTS:
            log = layout.LAB.log / f'{host}-nova-compute.log'
            with log.open(errors='replace') as lines:
                lines.seek(self._offsets.get(host, 0))
                new += lines.read()
                self._offsets[host] = lines.tell()
        return new


def _with_journal_entry() -> list[str]:
    # A server may be deleted, or leave, while it is looked at.
    return [
        f'{uuid} on {one.name}'
        for one in room.hosts()
        for uuid in hosts.Host(one.libvirt).journal_entries()
    ]

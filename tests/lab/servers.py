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

"""The cloud's servers, through Nova's API."""

from collections.abc import Mapping
from collections.abc import Sequence
import functools
import os
import subprocess
import time

from openstack import connection
from openstack.compute.v2 import server as sdk_server

from tests.lab import debian
from tests.lab import guest as lab_guest
from tests.lab import host as lab_host
from tests.lab import images
from tests.lab import layout
from tests.lab import records
from tests.lab import steps
from tests.lab import unreported
from tests.lab.services import catalogue
from tests.lab.services import settings

_MIGRATION_SECONDS = 300
Server = sdk_server.Server


class Servers:
    """The servers of the lab's cloud, as its administrator sees them."""

    @functools.cached_property
    def api(self) -> connection.Connection:
        """The SDK's connection to the cloud."""
        return catalogue.connect(self._state)

    @functools.cached_property
    def _state(self) -> settings.Settings:
        return settings.Settings(layout.LAB)

    def servers(self) -> list[Server]:
        """List the servers there are."""
        return list(self.api.compute.servers())

    def get(self, server: Server | str) -> Server:
        """Return a server as it is now.

        :param server: a server, or its name.
        :raises Refused: there is no server of that name.
        """
        if isinstance(server, str):
            found = self.api.compute.find_server(server)
            if not found:
                raise steps.Refused(f'there is no server {server}')
            server = found
        return self.api.compute.get_server(server.id)

    def boot(
        self,
        name: str,
        memory_mib: int,
        reporting: bool = True,
        host: str | None = None,
        system: debian.Debian | None = None,
        extra_specs: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Server:
        """Create a server, and wait until its guest agent answers.

        :param reporting: whether its balloon has free page
            reporting; without it, see :mod:`tests.lab.unreported`.
        :param host: ``host1`` or ``host2``; else the scheduler chooses.
        :param system: what it runs; None for the small guest.
        :param extra_specs: of its flavor.
        :param properties: of its image, besides those that it needs.
        :raises LabError: it did not come up.
        """
        chosen = {'host': layout.HOSTS[host].hostname} if host else {}
        image = images.upload(self.api, system, properties or {})
        flavor = images.flavor(self.api, memory_mib, extra_specs or {})
        with steps.step(f'boot {name} with {memory_mib} MiB'):
            server = self.api.compute.create_server(
                name=name,
                image_id=image.id,
                flavor_id=flavor.id,
                networks='none',
                **chosen,
            )
            server = self._settled(server, seconds=120)
            if server.status != 'ACTIVE':
                raise RuntimeError(records.story(self.api, server.id))
            if not reporting:
                unreported.take_away(self.guest(server).domain)
        with steps.step(f'wait for the guest agent of {name}'):
            self.guest(server).wait_ready()
        return server

    def delete(self, server: Server) -> None:
        """Delete a server, and wait until it is gone."""
        with steps.step(f'delete {server.name}'):
            self.api.compute.delete_server(server.id)
            self.api.compute.wait_for_delete(server, interval=0.5, wait=60)

    def host(self, server: Server) -> lab_host.Host:
        """Find the host a server is on, by Nova's record."""
        hostname = self.get(server).compute_host
        return next(
            lab_host.Host(name)
            for name, place in layout.HOSTS.items()
            if place.hostname == hostname
        )

    def guest(self, server: Server) -> lab_guest.Guest:
        """Return a server's guest, on the host it is on now."""
        libvirt = self.host(server).libvirt()
        return lab_guest.Guest(libvirt.lookupByUUIDString(server.id))

    def migrate(
        self, server: Server, to: str | None = None, by_command: bool = False
    ) -> records.Migration:
        """Live-migrate a server.

        :param to: ``host1`` or ``host2``; else the scheduler chooses.
        :param by_command: use ``openstack server migrate`` instead of the
            SDK, which takes a second more of CPU time.
        :raises LabError: the server is not ACTIVE on another host then.
        """
        with steps.step(f'migrate {server.name}'):
            migration = self.finish_migration(
                server, self.begin_migration(server, to, by_command)
            )
            if migration.status != 'completed':
                raise RuntimeError(records.story(self.api, server.id))
        return migration

    def begin_migration(
        self, server: Server, to: str | None = None, by_command: bool = False
    ) -> float:
        """Ask for a live migration; see migrate().

        :returns: when it was asked for, by the monotonic clock.
        """
        hostname = layout.HOSTS[to].hostname if to else None
        started = time.monotonic()
        if by_command:
            command = ['server', 'migrate', '--live-migration', server.id]
            self.openstack(command + (['--host', hostname] if to else []))
        else:
            self.api.compute.live_migrate_server(
                server.id, host=hostname, block_migration='auto'
            )
        return started

    def finish_migration(
        self, server: Server, started: float
    ) -> records.Migration:
        """Wait for the end of a migration, whatever the end is.

        :param started: what begin_migration() returned.
        """
        self._settled(server, _MIGRATION_SECONDS)
        record = steps.wait_for(
            lambda: records.ended_migration(self.api, server.id),
            f'the end of the migration of {server.name}',
            seconds=30,
        )
        return records.Migration(
            number=record['id'],
            source=record['source_compute'],
            destination=record['dest_compute'],
            status=record['status'],
            seconds=time.monotonic() - started,
        )

    def abort_migration(self, server: Server) -> None:
        """Abort the running migration, as ``server migration abort`` does."""
        for running in self.api.compute.server_migrations(server.id):
            self.api.compute.abort_server_migration(running.id, server.id)

    def force_migration(self, server: Server) -> None:
        """Force the running migration to complete, as the command does."""
        compute = self.api.compute
        for running in compute.server_migrations(server.id):
            compute.force_complete_server_migration(running.id, server.id)

    def openstack(self, arguments: Sequence[str]) -> str:
        """Run the real openstack command as the administrator.

        :returns: what it wrote.
        :raises RuntimeError: it failed; its words.
        """
        done = subprocess.run(
            [settings.program('openstack'), *arguments],
            env={**os.environ, **catalogue.environment(self._state)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(
                f'openstack {" ".join(arguments)}: {done.stderr.strip()}'
            )
        return done.stdout

    def events(self, server: Server) -> list[records.Event]:
        """List what Nova recorded of the last action on a server."""
        return records.last_events(self.api, server.id)

    def _settled(self, server: Server, seconds: float) -> Server:
        """Wait until Nova has nothing to do with a server."""

        def look() -> Server | None:
            now = self.api.compute.get_server(server.id)
            busy = now.task_state or now.status == 'BUILD'
            return None if busy else now

        return steps.wait_for(
            look, f'the end of the task of {server.name}', seconds, 0.4
        )

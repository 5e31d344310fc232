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

"""Many live migrations at the same time, of guests whose agents are silent."""

import importlib
import threading
from typing import Any

from tests.functional import base
from tests.functional import fakedomain

SILENT = 10


class SilentAgents(base.LiveMigrationTestCase):
    """Ten guests wait for their agents, and ten others are transferred.

    On eventlet that is as many native threads as its pool has.
    """

    CONFIGURATION = f"""{base.ENABLED}
[DEFAULT]
max_concurrent_live_migrations = {SILENT + 1}
ram_allocation_ratio = 16
cpu_allocation_ratio = 16
[quota]
instances = -1
cores = -1
ram = -1
"""

    def setUp(self) -> None:
        super().setUp()
        native = threading
        if base.EVENTLET:
            eventlet = importlib.import_module('eventlet')
            pool = importlib.import_module('eventlet.tpool')
            native = eventlet.patcher.original('threading')
        self.timed_out = native.Event()
        self.transferred = native.Event()
        self.addCleanup(self.timed_out.set)
        self.addCleanup(self.transferred.set)
        self.asked: set[str] = set()
        flavor_id = self._create_flavor(
            memory_mb=base.MEMORY_KIB // 1024, vcpu=1, disk=0, ephemeral=0
        )
        self.silent = [
            self._create_server(
                host='source',
                networks='none',
                image_uuid=self.server['image']['id'],
                flavor_id=flavor_id,
            )
            for _ in range(SILENT)
        ]
        for server in self.silent:
            domain = self.source.lookupByUUIDString(server['id'])
            domain.agent_command = self._hang(server['id'])
        if base.EVENTLET:
            for _ in range(SILENT):
                eventlet.spawn(pool.execute, self.transferred.wait)

    def _hang(self, uuid: str) -> Any:
        def agent_command(command: str, timeout: int) -> str:
            self.asked.add(uuid)
            self.timed_out.wait()
            raise fakedomain.HUNG

        return agent_command

    def statuses(self) -> set[str]:
        """:returns: of the migrations of the guests with silent agents."""
        silent = {server['id'] for server in self.silent}
        return {
            migration['status']
            for migration in self.api.api_get('/os-migrations').body[
                'migrations'
            ]
            if migration['instance_uuid'] in silent
        }

    def test_nobody_waits_for_the_agent_of_another(self) -> None:
        for server in self.silent:
            self.api.post_server_action(
                server['id'],
                {'os-migrateLive': {'host': None, 'block_migration': 'auto'}},
            )
        self.wait_for(SILENT, lambda: len(self.asked))
        self.migrate()
        self.assert_whole(self.destination)
        self.assertEqual({'running'}, self.statuses())
        self.timed_out.set()
        self.wait_for({'completed'}, self.statuses)
        self.transferred.set()
        guests = [
            self.destination.lookupByUUIDString(server['id']).guest
            for server in self.silent
        ]
        self.wait_for(
            {base.MEMORY_KIB}, lambda: {guest.actual_kib for guest in guests}
        )

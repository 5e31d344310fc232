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

"""An operator decides by flavor, and a user by image."""

import re

from tests.cloud import base
from tests.lab import servers

_MEMORY_MIB, _FREED_MIB = 768, 400
_HEADROOM_MIB = 300


class FlavorThatSaysNo(base.CloudTestCase):
    def test_the_server_migrates_with_all_its_memory(self) -> None:
        server = self.boot_used(
            _MEMORY_MIB, _FREED_MIB, extra_specs={'freemem:enabled': 'false'}
        )
        before = self.question(server)
        migration = self.cloud.migrate(server)
        self.assertEqual('completed', migration.status)
        self.assert_whole(server, before)
        events = {event.name for event in self.cloud.events(server)}
        self.assertIn('compute_freemem_skip_disabled_by_flavor', events)
        self.assertNotIn('compute_freemem_release', events)


class FlavorThatSaysDuring(base.CloudTestCase):
    """Its server's image asks for more headroom than the host leaves."""

    def test_the_server_keeps_its_headroom_during_the_transfer(self) -> None:
        server = self.boot_used(
            _MEMORY_MIB,
            _FREED_MIB,
            extra_specs={'freemem:mode': 'during'},
            properties={'freemem_headroom_min_mib': str(_HEADROOM_MIB)},
        )
        before = self.question(server)
        migration = self.cloud.migrate(server)
        self.assertEqual('completed', migration.status)
        self.assert_whole(server, before)
        released_mib = self._released_during_mib(server)
        self.assertGreater(released_mib, 0)
        # The host alone would leave it 128, and a quarter more.
        self.assertLess(released_mib, _MEMORY_MIB - _HEADROOM_MIB * 1.25)

    def _released_during_mib(self, server: servers.Server) -> int:
        found = [
            match
            for line in self.log_of(self.source, server)
            if (
                match := re.search(r'] Released (\d+) of \d+ MiB during', line)
            )
        ]
        self.assertEqual(1, len(found))
        return int(found[0].group(1))

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

"""Nobody has told the plugin what the migration network carries."""

from tests.cloud import base
from tests.lab import comparison
from tests.lab import episode
from tests.lab import network
from tests.lab import room

_MEMORY_MIB, _FREED_MIB = 1024, 700

# It sorts after the drop-in that knows the limit of the link.
_NOTHING_CONFIGURED = """\
[freemem]
migration_bandwidth_mbps = 0
"""


class HostWhoseInterfaceTellsTooMuch(base.CloudTestCase):
    """It says 10 Gb/s, as every veth does, and the path carries 0.3."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(network.set_link, room.LINK_MBIT)
        self.addCleanup(self.cloud.plugin, True)
        for one in self.cloud.computes:
            one.set_lines('unconfigured', _NOTHING_CONFIGURED)
            self.addCleanup(one.set_lines, 'unconfigured', '')
        self.cloud.plugin(False)
        self.server = self.boot_used(_MEMORY_MIB, _FREED_MIB)

    def test_its_first_migration_saves_nearly_what_the_second_does(
        self,
    ) -> None:
        plain = self._leave('without the plugin')
        self._return()
        self.cloud.plugin(True)
        first = self._leave('its first migration')
        self._return()
        second = self._leave('its second migration')
        self.assertGreater(first.seconds_release, 0)
        for one in (first, second):
            what = f'{one}, instead of {plain}'
            self.assertTrue(one.guest_intact, what)
            self.assertLess(one.seconds_total, 0.8 * plain.seconds_total, what)
            self.assertLess(one.bytes_sent, 0.6 * plain.bytes_sent, what)
        self.assertLess(
            first.seconds_total,
            1.5 * second.seconds_total,
            f'{first}, before {second}',
        )

    def _leave(self, name: str) -> comparison.Run:
        """Let the guest use memory and free it, and leave the first host."""
        network.set_link(base.SLOW_LINK_MBIT)
        played = episode.play(self.cloud, self.server, _FREED_MIB, name)
        self.assertEqual((), played.wrong)
        return played.run

    def _return(self) -> None:
        """Come back without a limit: the first host learns nothing of it."""
        network.set_link(None)
        status = self.cloud.migrate(self.server).status
        self.assertEqual('completed', status)

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

_MEMORY_MIB, _FREED_MIB = 1024, 700


class HostWhoseInterfaceTellsTooMuch(base.CloudTestCase):
    """It says 10 Gb/s, as every veth does, and the path carries 0.3.

    The second host releases nothing: so a guest comes back from it as it does
    without the plugin, and the first host learns nothing of that.
    """

    lines = '[freemem]\nmigration_bandwidth_mbps = 0\n'
    destination_lines = base.RELEASES_NOTHING

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_used(_MEMORY_MIB, _FREED_MIB)
        self.set_link(base.SLOW_LINK_MBIT)

    def test_its_first_migration_saves_nearly_what_the_second_does(
        self,
    ) -> None:
        first = self._leave('its first migration')
        plain = self._leave('without a release')
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
        """Let the guest use memory and free it, and go to the other host."""
        played = episode.play(self.cloud, self.server, _FREED_MIB, name)
        self.assertEqual((), played.wrong)
        return played.run

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

"""What a guest can show that has page cache, and no agent.

The guests of the gate are such ones: they run CirrOS.
"""

from tests.cloud import base

_MEMORY_MIB, _CACHE_MIB = 512, 256

_AS_IN_THE_GATE = """\
[freemem]
acquire = balloon_stats
reclaim = available
mode = before
"""


class GuestWithPageCacheAndNoAgent(base.CloudTestCase):
    """Its balloon reports free pages, and has told the host of all it has.

    Where the gate uses SSH, the test uses an agent that the plugin does not.
    """

    lines = _AS_IN_THE_GATE

    def setUp(self) -> None:
        super().setUp()
        self.server = self.cloud.boot(
            'page-cache', _MEMORY_MIB, host=self.source.name
        )
        self.addCleanup(self.cloud.delete, self.server)
        guest = self.cloud.guest(self.server)
        guest.hold(32)
        guest.fill_cache(_CACHE_MIB)

    def test_its_page_cache_is_not_transferred(self) -> None:
        guest = self.cloud.guest(self.server)
        before = self.question(self.server)
        resident_kib = guest.rss_kib()
        self.set_link(base.SLOW_LINK_MBIT)
        sent_before, _ = self.source.link_bytes()
        migration = self.cloud.migrate(self.server)
        sent, _ = self.source.link_bytes()
        self.assertEqual('completed', migration.status)
        self.assert_whole(self.server, before)
        events = {
            event.name: event.result
            for event in self.cloud.events(self.server)
        }
        self.assertEqual('Success', events.get('compute_freemem_release'))
        (line,) = (
            line
            for line in self.log_of(self.source, self.server)
            if 'Free memory was reported by' in line
        )
        self.assertIn('balloon_stats', line)
        self.assertLess(
            (sent - sent_before) >> 10,
            resident_kib - (_CACHE_MIB << 10) // 2,
        )

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

"""Options that change while nova-compute runs."""

from typing import Any

from nova_freemem import trait
from tests.functional import base
from tests.functional import surroundings


class ReloadTestCase(base.LiveMigrationTestCase):
    def followed(self, host: str = 'source') -> Any:
        """:returns: what a nova-compute follows."""
        return self.computes[host].driver._engine.policy

    def lines(self, level: str) -> list[str]:
        """:returns: what both hosts say of their options."""
        return [
            line
            for line in self.log_lines(level, 'driver')
            if 'changed options' in line
        ]


class Enabled(ReloadTestCase):
    CONFIGURATION = base.DISABLED

    def test_the_next_migration_releases_memory(self) -> None:
        self.reload(base.ENABLED)
        self.migrate()
        self.assertIn('compute_freemem_release', self.events())
        self.assert_whole(self.destination)
        lines = self.lines('INFO')
        self.assertEqual(2, len(lines), 'one line per host')
        for line in lines:
            self.assertIn('options: enabled: False -> True.', line)


class DisabledAgain(ReloadTestCase):
    def test_the_next_migration_releases_none(self) -> None:
        self.reload(base.DISABLED)
        self.migrate()
        self.assertEqual(
            'Success', self.events()['compute_freemem_skip_disabled_by_host']
        )
        self.assertEqual(base.MEMORY_KIB, self.guest.actual_kib)

    def test_the_host_still_says_that_it_restores_memory(self) -> None:
        self.reload(base.DISABLED)
        self._run_periodics()
        for name in ('source', 'destination'):
            traits = self._get_provider_traits(
                self._get_provider_uuid_by_name(name)
            )
            self.assertIn(trait.TRAIT, traits)


class AnotherBandwidth(ReloadTestCase):
    def test_the_next_migration_is_planned_with_it(self) -> None:
        self.reload(base.ENABLED + 'migration_bandwidth_mbps = 1000000\n')
        self.migrate()
        self.assertEqual(
            'Success', self.events()['compute_freemem_skip_not_worthwhile']
        )
        (line,) = self.log_lines('INFO')
        self.assertIn('1000000 Mbit/s (configured)', line)


class MoreHeadroom(ReloadTestCase):
    def test_the_guest_keeps_it_in_the_next_migration(self) -> None:
        self.reload(base.ENABLED + 'headroom_min_mib = 1024\n')
        self.migrate()
        self.assertIn('compute_freemem_release', self.events())
        self.assertGreater(self.guest.least_kib, 1024 * 1024)


class WrongValue(ReloadTestCase):
    def test_what_was_valid_stays_in_force(self) -> None:
        before = self.followed()
        for text, words in (
            ('enabled = perhaps', ('enabled', "'perhaps'")),
            ('headroom_percent = 150', ("'150'", '1 to 90')),
            ('mode = $fastest', ('mode', 'no such option fastest')),
            ('deadline_seconds = 4', ('agent_timeout_seconds', '5', '4')),
        ):
            said = len(self.lines('ERROR'))
            self.reload(f'[freemem]\n{text}\n')
            lines = self.lines('ERROR')[said:]
            self.assertEqual(2, len(lines), 'one line per host')
            for line in lines:
                for word in words:
                    self.assertIn(word, line)
            self.assertIs(before, self.followed())
        self.migrate()
        self.assertIn('compute_freemem_release', self.events())
        self.assert_whole(self.destination)

    def test_once_corrected_it_counts(self) -> None:
        self.reload(base.ENABLED + 'headroom_percent = $none\n')
        self.reload(base.ENABLED + 'headroom_percent = 20\n')
        for host in ('source', 'destination'):
            self.assertEqual(20, self.followed(host).headroom_percent)


class OffFromTheStart(ReloadTestCase):
    CONFIGURATION = base.ENABLED + 'headroom_percent = 150\n'

    def test_nova_reads_its_options_again_all_the_same(self) -> None:
        self.reload(base.ENABLED + 'headroom_percent = $none\n')
        self.reload(base.ENABLED)
        self.migrate()
        self.assertEqual(
            [], [name for name in self.events() if 'freemem' in name]
        )


class DirectoriesAndAFile(ReloadTestCase):
    """A nova-compute with several --config-dir and a --config-file after."""

    CONFIGURATION = base.ENABLED + 'headroom_percent = 7\n'
    FILE = surroundings.Directories

    def test_the_plugin_follows_the_one_that_nova_follows(self) -> None:
        self.assertEqual(7, self.followed().headroom_percent)
        self.migrate()
        self.assertIn('compute_freemem_release', self.events())
        self.assert_whole(self.destination)

    def test_it_does_so_after_a_change(self) -> None:
        self.reload(base.ENABLED + 'headroom_percent = 8\n')
        self.assertEqual(8, self.followed().headroom_percent)

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

"""Hosts with different plugins, or none, during an upgrade."""

import json
import subprocess

from nova_freemem import trait
from nova_freemem.virt import guest as guests
from tests.cloud import base
from tests.lab import host as lab_host
from tests.lab.services import settings

_WHOLE_KIB = 768 * 1024
_NEWER = '<outstanding format="2" bytes="805306368"/>'


def _command(
    host: lab_host.Host, *words: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Call the operator's command on a host."""
    return host.run([settings.program('nova-freemem'), *words], check=check)


class HostsWithThePlugin(base.CloudTestCase):
    """Both restore the memory of guests that arrive."""

    def test_they_say_so_in_placement(self) -> None:
        for host in (self.source, self.destination):
            self.assertIn(trait.TRAIT, self.traits(host)['traits'])


class DestinationTestCase(base.CloudTestCase):
    """The source has the plugin, and the destination has not."""

    plugins = (True, False)

    def start_computes(self) -> None:
        # It may remember the destination as it was.
        self.compute(self.source).stop()
        super().start_computes()


class DestinationWithoutTheTrait(DestinationTestCase):
    """It says no longer that it restores memory."""

    def setUp(self) -> None:
        super().setUp()
        known = self.traits(self.destination)
        known['traits'] = [
            one for one in known['traits'] if one != trait.TRAIT
        ]
        changed = self.cloud.api.placement.put(
            self.traits_url(self.destination), json=known, microversion='1.6'
        )
        self.assertEqual(200, changed.status_code, changed.text)
        self.server = self.boot_used(memory_mib=768, freed_mib=400)
        self.before = self.question(self.server)

    def test_nothing_is_released(self) -> None:
        migration = self.cloud.migrate(self.server, to=self.destination.name)
        self.assertEqual('completed', migration.status)
        names = [one.name for one in self.cloud.events(self.server)]
        self.assertIn('compute_freemem_skip_destination_not_ready', names)
        self.assertEqual(_WHOLE_KIB, self.question(self.server).balloon_kib)
        self.assert_whole(self.server, self.before)


class DestinationWithoutThePlugin(DestinationTestCase):
    """A guest has landed there, and nova-compute restores nothing."""

    lines = '[freemem]\nrequire_destination_trait = false\n'

    def setUp(self) -> None:
        super().setUp()
        destination = self.destination.name
        self.server = self.boot_used(memory_mib=768, freed_mib=400)
        self.before = self.question(self.server)
        migration = self.cloud.migrate(self.server, to=destination)
        self.assertEqual('completed', migration.status)
        now = self.question(self.server)
        self.assertLess(now.balloon_kib, _WHOLE_KIB)
        self.assertIsNotNone(self.entry(self.server))

    def test_the_command_restores_all_memory_without_nova(self) -> None:
        self.compute(self.destination).stop()
        listed = _command(self.destination, 'list', '-f', 'json')
        (listed_entry,) = json.loads(listed.stdout)
        self.assertIn(self.server.id, listed_entry.values())
        _command(self.destination, 'restore', '--all')
        self.assertEqual(
            [],
            json.loads(
                _command(self.destination, 'list', '-f', 'json').stdout
            ),
        )
        self.compute(self.destination).start(self.cloud.api)
        self.assert_whole(self.server, self.before)

    def test_all_memory_is_restored_once_the_plugin_is_enabled(self) -> None:
        self.cloud.plugin(True)
        self.assert_whole(self.server, self.before)

    def test_all_memory_is_restored_on_a_host_with_the_plugin(self) -> None:
        self.cloud.migrate(self.server, to=self.source.name)
        self.assert_whole(self.server, self.before)


class EntryOfANewerPlugin(base.CloudTestCase):
    """The guest came from a host that has been upgraded already."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_used(memory_mib=768, freed_mib=400)
        self.before = self.question(self.server)
        handle = self.cloud.guest(self.server).domain
        guests.Guest(handle).write_metadata(_NEWER)

    def test_nothing_is_released_and_the_operator_repairs_it(self) -> None:
        migration = self.cloud.migrate(self.server)
        self.assertEqual('completed', migration.status)
        self.assertIn('format="2"', self.entry(self.server) or '')
        kept = self.question(self.server)
        self.assertEqual(_WHOLE_KIB, kept.balloon_kib)
        names = [one.name for one in self.cloud.events(self.server)]
        self.assertTrue(
            any(one.startswith('compute_freemem_skip_') for one in names),
            names,
        )
        refused = _command(self.destination, 'restore', '--all', check=False)
        self.assertEqual(1, refused.returncode)
        self.assertIn(f'repair {self.server.id}', refused.stderr)
        _command(self.destination, 'repair', self.server.id)
        self.assert_whole(self.server, self.before)

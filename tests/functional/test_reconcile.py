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

"""Memory that was not restored at the landing is restored later."""

import contextlib
import io
from typing import Any

import fixtures
from nova.tests.fixtures import libvirt as nova_fake

from nova_freemem import history as histories
from nova_freemem.cli import main
from nova_freemem.report import events
from nova_freemem.virt import host as hosts
from tests.functional import base
from tests.functional import fakelibvirt
from tests.functional import surroundings


class OutstandingTestCase(base.LiveMigrationTestCase):
    """The guest has landed, and some of its memory is outstanding."""

    CONFIGURATION = base.FOR_ANY_DESTINATION

    def start_host(self, name: str) -> fakelibvirt.Connection:
        """Start a nova-compute, with the plugin at the source alone."""
        if name == 'source':
            return super().start_host(name)
        with surroundings.StockNova():
            return super().start_host(name)

    def setUp(self) -> None:
        super().setUp()
        self.migrate()
        self.assertLess(self.guest.actual_kib, base.MEMORY_KIB)

    def wait_until_whole(self) -> None:
        """The guest has all its memory, and no journal entry."""
        landed = self.domain_at(self.destination)
        self.wait_for([], lambda: base.journal_entries(landed, base.LIVE))
        self.assert_whole(self.destination)


class NextStart(OutstandingTestCase):
    def test_nova_compute_with_the_plugin_restores_it(self) -> None:
        self.restart_host('destination')
        self.wait_until_whole()
        [line] = self.log_lines('INFO')[1:]
        self.assertIn(f'-> {base.MEMORY_KIB} KiB', line)

    def test_it_is_shown_with_the_migration_and_remembered(self) -> None:
        self.wait_for(1, lambda: len(histories.read(self.state_path)[0]))
        self.assertNotIn(events.RESTORE, self.events())
        self.restart_host('destination')
        self.wait_until_whole()
        self.wait_for('Success', lambda: self.events().get(events.RESTORE))
        self.wait_for(2, lambda: len(histories.read(self.state_path)[0]))
        _release, restore = histories.read(self.state_path)[0]
        self.assertEqual(
            (histories.Kind.RESTORE, self.server['id'], True),
            (restore.kind, restore.server, restore.complete),
        )

    def test_guest_that_is_being_migrated_is_not_touched(self) -> None:
        domain, looked = self.domain_at(self.destination), []
        stats = domain.jobStats

        def look(flags: int = 0) -> Any:
            looked.append(flags)
            return stats(flags)

        domain.jobStats = look
        with domain._job():
            del self.destination.calls[:]
            self.restart_host('destination')
            self.wait_for(True, lambda: bool(looked))
            changed = {call[0] for call in self.destination.calls}
            self.assertNotIn('setMemoryFlags', changed)
            self.assertNotIn('setMetadata', changed)
        self.computes['destination'].driver._reconciler.notify(
            self.server['id']
        )
        self.wait_until_whole()

    def test_entry_that_cannot_be_read_is_left_to_the_operator(self) -> None:
        domain = self.domain_at(self.destination)
        domain.setMetadata(
            2, '<outstanding format="2"/>', 'f', base.JOURNAL_URI
        )
        self.restart_host('destination')
        self.wait_for(1, lambda: len(self.log_lines('ERROR')))
        self.assertIn(
            f'nova-freemem repair {self.server["id"]}',
            self.log_lines('ERROR')[0],
        )
        self.assertLess(self.guest.actual_kib, base.MEMORY_KIB)


class Interval(OutstandingTestCase):
    CONFIGURATION = (
        base.FOR_ANY_DESTINATION + 'reconcile_interval_seconds = 5\n'
    )

    def test_entry_that_appears_later_is_seen(self) -> None:
        domain = self.domain_at(self.destination)
        entry = domain.metadata(2, base.JOURNAL_URI)
        domain.setMetadata(2, None, None, base.JOURNAL_URI)
        self.restart_host('destination')
        domain.setMetadata(2, entry, 'freemem', base.JOURNAL_URI)
        self.wait_until_whole()


class Snapshot(OutstandingTestCase):
    """Nova undefines a domain while it copies a disk of the guest."""

    CONFIGURATION = (
        base.FOR_ANY_DESTINATION + 'reconcile_interval_seconds = 5\n'
    )

    def test_guest_has_its_memory_before_it_ends_and_a_definition_after(
        self,
    ) -> None:
        domain = self.domain_at(self.destination)
        xml = domain.XMLDesc(nova_fake.VIR_DOMAIN_XML_INACTIVE)
        domain.undefineFlags(0)
        self.restart_host('destination')
        self.wait_for(base.MEMORY_KIB, lambda: self.guest.actual_kib)
        self.wait_for(1, lambda: len(self.log_lines('INFO')[1:]))
        self.assertTrue(base.journal_entries(domain, base.LIVE))
        self.destination.defineXML(xml)
        self.wait_until_whole()
        self.assertEqual(1, len(self.log_lines('INFO')[1:]))


class PluginSwitchedOff(OutstandingTestCase):
    """The operator's command needs libvirt, and nothing of Nova."""

    def setUp(self) -> None:
        super().setUp()
        host = hosts.Host(lambda: self.destination)
        self.useFixture(
            fixtures.MockPatchObject(
                hosts.Host, 'at', autospec=True, return_value=host
            )
        )

    def run_command(self, *words: str) -> tuple[int, str, str]:
        """Run ``nova-freemem`` on the host where the guest is.

        :returns: exit code, what it said, and what it complained of
        """
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main.main(words)
        return code, out.getvalue(), err.getvalue()

    def test_command_restores_what_is_outstanding(self) -> None:
        _code, said, _complaints = self.run_command('list')
        self.assertIn(self.server['id'], said)
        self.assertIn(str(base.MEMORY_KIB), said)
        code, said, complaints = self.run_command('restore', '--all')
        self.assertEqual(0, code, complaints)
        self.assert_whole(self.destination)
        _code, said, _complaints = self.run_command('restore', '--all')
        self.assertEqual(
            'No guest of this host has outstanding memory.\n', said
        )

    def test_command_repairs_what_cannot_be_read(self) -> None:
        domain = self.domain_at(self.destination)
        domain.setMetadata(
            2, '<outstanding format="2"/>', 'f', base.JOURNAL_URI
        )
        code, _said, complaints = self.run_command('restore', '--all')
        self.assertEqual(1, code)
        self.assertIn('nova-freemem repair', complaints)
        code, _said, complaints = self.run_command('repair', self.server['id'])
        self.assertEqual(0, code, complaints)
        self.assert_whole(self.destination)


class Threads(base.LiveMigrationTestCase):
    def test_none_is_left_when_nova_compute_has_ended(self) -> None:
        self.migrate()
        for name in ('source', 'destination'):
            self.computes[name].stop()
        self.wait_for([], lambda: base.threads('freemem'))

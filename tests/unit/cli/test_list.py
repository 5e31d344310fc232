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

"""The operator sees which guests have outstanding memory."""

import json

from nova_freemem import exceptions
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.unit.cli import base
from tests.unit.cli.base import OTHER_UUID
from tests.unit.cli.base import UUID


class ListTest(base.CommandTestCase):
    def rows(self) -> list[dict[str, object]]:
        self.assertEqual(0, self.run_command('list', '-f', 'json'))
        return json.loads(self.out)

    def test_a_table_shows_each_guest(self) -> None:
        self.add_guest()
        self.assertEqual(0, self.run_command('list'))
        for words in (
            UUID,
            '4194304',
            '1048576',
            'running',
            'host1',
            '2026-11-02T08:00:00+00:00',
            'a migration',
        ):
            self.assertIn(words, self.out)

    def test_programs_get_the_same_as_json(self) -> None:
        self.add_guest(OTHER_UUID)
        self.add_guest(UUID).running = False
        self.assertEqual(
            [
                {
                    'server': UUID,
                    'original_kib': 4 * GIB,
                    'current_kib': 1 * GIB,
                    'state': 'paused',
                    'source': 'host1',
                    'released_at': '2026-11-02T08:00:00+00:00',
                    'migration': 'a migration',
                },
                OTHER_UUID,
            ],
            [self.rows()[0], self.rows()[1]['server']],
        )

    def test_a_guest_without_outstanding_memory_is_not_listed(self) -> None:
        self.add_guest().metadata = None
        self.assertEqual([], self.rows())

    def test_an_unreadable_entry_is_listed_with_the_error(self) -> None:
        self.add_guest().metadata = base.UNREADABLE
        (row,) = self.rows()
        self.assertEqual(
            (UUID, None, 1 * GIB),
            (row['server'], row['original_kib'], row['current_kib']),
        )
        self.assertRegex(
            row['state'],
            'running; its journal entry cannot be read: it has format 2',
        )
        self.assertEqual(
            [None] * 3,
            [row[name] for name in ('source', 'released_at', 'migration')],
        )

    def test_what_is_not_known_is_shown_as_such(self) -> None:
        self.add_guest().metadata = base.UNREADABLE
        self.assertEqual(0, self.run_command('list'))
        self.assertRegex(self.out, r'n/a +\| n/a +\| n/a +\|')
        self.assertEqual(0, self.run_command('list', '-f', 'csv'))
        self.assertTrue(self.out.endswith('"n/a","n/a","n/a"\n'), self.out)

    def test_rows_can_be_sorted(self) -> None:
        self.add_guest(OTHER_UUID).metadata = base.UNREADABLE
        self.add_guest(UUID).actual_kib = 2 * GIB
        for column, order in (
            ('current_kib', (OTHER_UUID, UUID)),
            # Not all values are known: in the order of the servers.
            ('original_kib', (UUID, OTHER_UUID)),
        ):
            self.assertEqual(
                0, self.run_command('list', '--sort-column', column)
            )
            first, second = (self.out.index(uuid) for uuid in order)
            self.assertLess(first, second)

    def test_a_guest_that_leaves_meanwhile_does_not_hide_the_others(
        self,
    ) -> None:
        self.add_guest(UUID)
        self.add_guest(OTHER_UUID)
        self.host.domains[UUID].fault_at[1] = fakes.libvirt_error(
            exceptions.DomainGone, 'no domain'
        )
        rows = self.rows()
        self.assertIn('no domain', rows[0]['state'])
        self.assertEqual(
            (None, 1 * GIB), (rows[0]['current_kib'], rows[1]['current_kib'])
        )

    def test_control_characters_in_an_entry_are_not_printed(self) -> None:
        guest = self.add_guest()
        guest.metadata = guest.metadata.replace(
            'host1', '&#x9;' * 9 + 'x' * 900
        )
        self.assertEqual(0, self.run_command('list'))
        self.assertNotIn('\t', self.out)
        self.assertLess(max(map(len, self.out.splitlines())), 400)

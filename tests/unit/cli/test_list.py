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

"""The operator sees who is owed what."""

import json

from nova_freemem import exceptions
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.unit.cli import base
from tests.unit.cli.base import OTHER_UUID
from tests.unit.cli.base import UUID


class OwedTest(base.CommandTestCase):
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
            'runs',
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
                    'Server': UUID,
                    'Original KiB': 4 * GIB,
                    'Actual KiB': 1 * GIB,
                    'Guest': 'is paused',
                    'Taken by': 'host1',
                    'Taken at': '2026-11-02T08:00:00+00:00',
                    'Migration': 'a migration',
                },
                OTHER_UUID,
            ],
            [self.rows()[0], self.rows()[1]['Server']],
        )

    def test_who_is_owed_nothing_is_not_there(self) -> None:
        self.add_guest().metadata = None
        self.assertEqual([], self.rows())

    def test_an_entry_that_makes_no_sense_is_there_and_says_so(self) -> None:
        self.add_guest().metadata = base.UNREADABLE
        (row,) = self.rows()
        self.assertEqual(
            (UUID, None, 1 * GIB),
            (row['Server'], row['Original KiB'], row['Actual KiB']),
        )
        self.assertIn('its format is not 1', row['Taken by'])

    def test_one_that_leaves_meanwhile_does_not_hide_the_others(self) -> None:
        self.add_guest(UUID)
        self.add_guest(OTHER_UUID)
        self.host.domains[UUID].fault_at[1] = fakes.libvirt_fault(
            exceptions.DomainGone, 'no domain'
        )
        rows = self.rows()
        self.assertIn('no domain', rows[0]['Guest'])
        self.assertEqual(
            (None, 1 * GIB), (rows[0]['Actual KiB'], rows[1]['Actual KiB'])
        )

    def test_what_was_written_cannot_draw_on_the_screen(self) -> None:
        guest = self.add_guest()
        guest.metadata = guest.metadata.replace(
            'host1', '&#x9;' * 9 + 'x' * 900
        )
        self.assertEqual(0, self.run_command('list'))
        self.assertNotIn('\t', self.out)
        self.assertLess(max(map(len, self.out.splitlines())), 400)

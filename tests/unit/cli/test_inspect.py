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

"""What an operator sees of the memory a guest can spare."""

import json
from typing import Any

from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.acquire import test_ranges
from tests.unit.cli import base
from tests.unit.cli.base import UUID


class InspectTest(base.CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.agent = test_ranges.talkative()
        self.guest = fakes.SimulatedGuest(self.clock, agent=self.agent)
        self.domain = fakes.FakeGuest(self.guest, 'source', UUID)
        self.host.domains[UUID] = self.domain

    def printed(self, *words: str) -> str:
        """:returns: what the command prints when all is well."""
        self.assertEqual(
            0, self.run_command('inspect', UUID, *words), self.err
        )
        return self.out

    def values(self, *words: str) -> dict[str, Any]:
        """:returns: what a program gets."""
        return json.loads(self.printed('-f', 'json', *words))

    def test_amounts_are_shown_and_nothing_is_released(self) -> None:
        values = self.values()
        self.assertEqual('guest_agent', values['source'])
        self.assertEqual(4 * GIB, values['current_kib'])
        self.assertEqual(self.guest.rss_kib, values['resident_kib'])
        self.assertEqual(3 * GIB + 512 * MIB, values['free_kib'])
        self.assertEqual(
            {'size_kib': 4096, 'count': 896}, values['free_blocks'][-1]
        )
        self.assertEqual(0.0005, values['memory_pressure_share'])
        self.assertNotIn('free_ranges', values)
        self.assertEqual([], self.domain.called('set_balloon_kib'))

    def test_what_the_guest_did_not_report_is_not_zero(self) -> None:
        self.agent.files['/proc/meminfo'] = (
            b'MemTotal: 4194304 kB\nMemFree: 3670016 kB\n'
            b'MemAvailable: 3670016 kB\n'
        )
        self.assertIsNone(self.values()['cold_cache_kib'])
        self.assertRegex(self.printed(), r'\| cold_cache_kib +\| n/a +\|')

    def test_without_an_agent_the_balloon_driver_reports(self) -> None:
        self.agent.latency_seconds = 3600
        values = self.values()
        self.assertEqual('balloon_stats', values['source'])
        self.assertEqual(3 * GIB + 512 * MIB, values['free_kib'])
        self.assertIsNone(values['free_blocks'])

    def test_without_a_balloon_driver_the_agent_reports(self) -> None:
        self.guest.has_driver = False
        values = self.values()
        self.assertEqual('guest_agent', values['source'])
        self.assertEqual(4 * GIB, values['current_kib'])

    def test_without_a_balloon_the_agent_reports(self) -> None:
        self.patch_autospec(self.domain, 'memory_stats', return_value=None)
        values = self.values()
        self.assertEqual('guest_agent', values['source'])
        self.assertIsNone(values['current_kib'])
        self.assertEqual([], self.domain.called('fresh_memory_stats'))

    def test_where_agent_and_driver_differ_the_smaller_is_shown(self) -> None:
        self.guest.tells = {'free_kib': 1 * GIB}
        self.assertEqual(1 * GIB, self.values()['free_kib'])

    def test_ranges_for_people(self) -> None:
        printed = self.printed('--ranges')
        self.assertIn('| 0x000020000000 2621440 KiB ', printed)
        self.assertIn('| 0x000100000000 1048576 KiB ', printed)
        self.assertIn('| 896 of 4096 KiB ', printed)

    def test_ranges_for_programs(self) -> None:
        values = self.values('--ranges')
        self.assertEqual(
            [
                {'address': address, 'size_kib': kib}
                for address, kib in test_ranges.FREE_RANGES
            ],
            values['free_ranges'],
        )
        self.assertEqual([], values['balloon_ranges'])
        self.assertEqual(3 * GIB + 512 * MIB, values['free_ranges_kib'])
        self.assertEqual(0, values['drift_kib'])
        self.assertEqual(4, values['page_kib'])

    def test_ranges_need_the_agent(self) -> None:
        self.agent.blocked = test_ranges.EXEC | test_ranges.FILES
        self.assertEqual('balloon_stats', self.values()['source'])
        self.assertEqual(1, self.run_command('inspect', UUID, '--ranges'))
        self.assertRegex(
            self.err,
            '^nova-freemem: libvirt could not .* has been disabled.*\n$',
        )

    def test_a_guest_that_is_not_here(self) -> None:
        self.assertEqual(1, self.run_command('inspect', base.OTHER_UUID))
        self.assertIn('no domain', self.err)

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

"""The operator replaces an entry that cannot be read."""

import datetime

from nova_freemem import exceptions
from nova_freemem.restore import journal
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.cli import base
from tests.unit.cli.base import UUID


class RepairTest(base.CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.guest = self.add_guest()
        self.guest.metadata = base.UNREADABLE

    def assert_refused(self, *words: str) -> str:
        """:returns: the line that says why; nothing was changed."""
        before = (self.guest.metadata, self.guest.target_kib)
        self.assertEqual(2, self.run_command('repair', UUID, *words))
        self.assertEqual(before, (self.guest.metadata, self.guest.target_kib))
        return self.err

    def test_the_guest_gets_all_that_its_domain_may_have(self) -> None:
        self.assertEqual(0, self.run_command('repair', UUID))
        self.assert_restored(self.guest)
        self.assertEqual(
            f'{UUID}: 1048576 -> 4194304 KiB in 2.6 s\n', self.out
        )

    def test_the_guest_gets_what_the_operator_specifies(self) -> None:
        self.assertEqual(
            0,
            self.run_command(
                'repair',
                UUID,
                '--memory-mib',
                '2048',
                '--stats-period-seconds',
                '30',
            ),
        )
        self.assertEqual(
            (2 * GIB, 2 * GIB, None, 30),
            (
                self.guest.actual_kib,
                self.guest.definition_kib,
                self.guest.metadata,
                self.guest.stats_period_seconds,
            ),
        )

    def test_more_than_the_domain_may_have_is_refused_with_the_bounds(
        self,
    ) -> None:
        for text in ('0', '4097', '9' * 30):
            self.assertIn(
                f'--memory-mib {text} is not from 1 to 4096',
                self.assert_refused('--memory-mib', text),
            )

    def test_an_amount_that_is_not_a_whole_number_is_refused(self) -> None:
        for text in ('-1', 'plenty', '1.5'):
            self.assertIn(text, self.assert_refused(f'--memory-mib={text}'))

    def test_a_period_that_libvirt_does_not_accept_is_refused(self) -> None:
        for text in ('-1', 'often', str(1 << 31)):
            self.assertIn(
                text, self.assert_refused(f'--stats-period-seconds={text}')
            )

    def test_the_new_entry_of_a_late_guest_stays(self) -> None:
        self.guest.deflate_kib_per_second = 1 * MIB
        self.assertEqual(1, self.run_command('repair', UUID))
        self.assertIn('not restored', self.err)
        entry = journal.read(self.host.domains[UUID])
        self.assertEqual(
            (4 * GIB, 'repair', 10),
            (entry.original_kib, entry.source, entry.stats_period_seconds),
        )
        self.guest.deflate_kib_per_second = 1 * GIB
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assert_restored(self.guest)

    def test_an_entry_that_can_be_read_is_not_replaced(self) -> None:
        self.add_guest()
        self.guest = self.host.domains[UUID].guest
        self.assertIn(f'"nova-freemem restore {UUID}"', self.assert_refused())

    def test_an_entry_that_can_be_read_is_replaced_with_memory_mib(
        self,
    ) -> None:
        guest = self.add_guest()
        self.assertEqual(
            0, self.run_command('repair', UUID, '--memory-mib', '3072')
        )
        self.assertEqual((3 * GIB, None), (guest.actual_kib, guest.metadata))

    def test_the_entry_of_a_release_about_to_start_is_not_replaced(
        self,
    ) -> None:
        guest = self.add_guest()
        guest.actual_kib = guest.target_kib = 4 * GIB
        guest.metadata = entry = fakes.make_entry(
            released_at=datetime.datetime.fromtimestamp(
                self.clock.wall(), datetime.UTC
            )
        ).to_xml()
        self.assertEqual(
            1, self.run_command('repair', UUID, '--memory-mib', '4096')
        )
        self.assertIn(
            'not restored: the guest has all its memory, and', self.err
        )
        self.assertEqual(entry, guest.metadata)

    def test_a_guest_without_outstanding_memory_stays_as_it_is(self) -> None:
        self.guest.metadata = None
        self.assertEqual(
            0, self.run_command('repair', UUID, '--memory-mib', '2048')
        )
        self.assertEqual(f'{UUID}: no outstanding memory\n', self.out)
        self.assertEqual(1 * GIB, self.guest.target_kib)

    def test_a_guest_that_is_migrating_is_not_touched(self) -> None:
        self.guest.transferred_kib = 7
        self.assertEqual(1, self.run_command('repair', UUID))
        self.assertIn('migrating or in another job', self.err)
        self.assertEqual(base.UNREADABLE, self.guest.metadata)

    def test_an_error_of_libvirt_is_one_line(self) -> None:
        for call in range(1, 7):
            self.guest.metadata = base.UNREADABLE
            domain = self.host.domains[UUID]
            domain.calls.clear()
            domain.fault_at[call] = fakes.libvirt_error(
                exceptions.DomainBusy, 'a job is under way'
            )
            self.assertEqual(1, self.run_command('repair', UUID), call)
            self.assertEqual(1, len(self.err.splitlines()))
            self.assertIsNotNone(self.guest.metadata)

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

"""Memory is given back without a nova-compute."""

from nova_freemem import exceptions
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.cli import base
from tests.unit.cli.base import OTHER_UUID
from tests.unit.cli.base import UUID


class AssignTest(base.CommandTestCase):
    def test_all_guests_have_their_memory_back(self) -> None:
        guests = [self.add_guest(uuid) for uuid in (UUID, OTHER_UUID)]
        self.assertEqual(0, self.run_command('restore', '--all'))
        for guest in guests:
            self.assert_whole(guest)
        self.assertEqual(
            [
                f'{UUID}: 1048576 -> 4194304 KiB in 2.6 s',
                f'{OTHER_UUID}: 1048576 -> 4194304 KiB in 2.6 s',
            ],
            self.out.splitlines(),
        )
        self.assertEqual('', self.err)

    def test_those_that_are_named_have_it_and_no_others(self) -> None:
        guest, other = (self.add_guest(uuid) for uuid in (UUID, OTHER_UUID))
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assert_whole(guest)
        self.assertEqual(1 * GIB, other.target_kib)

    def test_all_guests_take_it_at_the_same_time(self) -> None:
        for number in range(20):
            self.add_guest(f'{UUID[:-2]}{number:02}')
        started_at = self.clock.now()
        self.assertEqual(0, self.run_command('restore', '--all'))
        self.assertLess(self.clock.now() - started_at, 4)

    def test_where_nobody_is_owed_anything_it_says_so(self) -> None:
        self.add_guest().metadata = None
        self.assertEqual(0, self.run_command('restore', '--all'))
        self.assertEqual('No guest of this host is owed memory.\n', self.out)
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assertEqual(f'{UUID}: is owed nothing\n', self.out)

    def assert_not_done(self, *because: str) -> None:
        """One line says why, and the other guest is paid all the same."""
        other = self.add_guest(OTHER_UUID)
        self.assertEqual(
            1,
            self.run_command(
                'restore', UUID, OTHER_UUID, '--wait-seconds', '30'
            ),
        )
        (line,) = self.err.splitlines()
        self.assertIn(f'{UUID}: not done: ', line)
        for words in because:
            self.assertIn(words, line)
        self.assert_whole(other)

    def test_a_guest_that_is_migrated_is_left_for_later(self) -> None:
        guest = self.add_guest()
        guest.transferred_kib = 7
        self.assert_not_done('is being migrated, or another job holds it')
        self.assertEqual(1 * GIB, guest.target_kib)

    def test_one_that_is_paused_is_left_for_later(self) -> None:
        self.add_guest().running = False
        self.assert_not_done('it is paused')

    def test_one_whose_entry_makes_no_sense_is_the_operators_to_settle(
        self,
    ) -> None:
        guest = self.add_guest()
        guest.metadata = base.UNREADABLE
        self.assert_not_done(
            'its format is not 1', f'"nova-freemem repair {UUID}"'
        )
        self.assertEqual(base.UNREADABLE, guest.metadata)
        self.assertEqual(1 * GIB, guest.target_kib)

    def test_one_that_is_not_here_is_named(self) -> None:
        self.assert_not_done('no domain')

    def test_one_that_is_late_is_still_owed(self) -> None:
        guest = self.add_guest(deflate_kib_per_second=1 * MIB)
        self.assert_not_done('of 4194304 KiB after 30 s')
        self.assertEqual(4 * GIB, guest.target_kib)
        self.assertIsNotNone(guest.metadata)

    def test_one_that_libvirt_refuses_is_told_of(self) -> None:
        for call in (2, 3, 4, 7):
            self.add_guest()
            self.host.domains[UUID].fault_at[call] = fakes.libvirt_fault(
                exceptions.DomainBusy, 'a job is under way'
            )
            self.assert_not_done('a job is under way')

    def test_one_that_nova_compute_pays_meanwhile_is_paid(self) -> None:
        guest = self.add_guest()
        self.clock.after(1, lambda: setattr(guest, 'metadata', None))
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assertEqual(f'{UUID}: settled by somebody else\n', self.out)

    def test_who_names_nobody_or_everybody_twice_is_refused(self) -> None:
        for words in ((), ('--all', UUID)):
            self.assertEqual(2, self.run_command('restore', *words))
            self.assertEqual(
                'nova-freemem: name servers, or say --all\n', self.err
            )
        self.connect.assert_not_called()

    def test_a_wait_that_is_no_number_is_refused(self) -> None:
        for text in ('-1', 'long'):
            self.assertEqual(
                2,
                self.run_command('restore', '--all', f'--wait-seconds={text}'),
            )
            self.assertIn(text, self.err)


class HostTest(base.CommandTestCase):
    def test_it_speaks_to_the_libvirt_that_nova_compute_does(self) -> None:
        self.run_command('restore', '--all')
        self.connect.assert_called_once_with('qemu:///system')

    def test_or_to_the_one_it_is_told(self) -> None:
        self.run_command('list', '--uri', 'qemu+unix:///session')
        self.connect.assert_called_once_with('qemu+unix:///session')

    def test_where_there_is_no_libvirt_one_line_says_so(self) -> None:
        self.connect.side_effect = fakes.libvirt_fault(
            exceptions.LibvirtError, 'connection refused'
        )
        for words in (('list',), ('restore', '--all'), ('repair', UUID)):
            self.assertEqual(1, self.run_command(*words))
            self.assertEqual(
                'nova-freemem: libvirt could not do this: '
                'connection refused (error 1)\n',
                self.err,
            )
            self.assertEqual('', self.out)

    def test_without_a_word_it_says_what_it_can_do(self) -> None:
        self.assertEqual(0, self.run_command())
        for name in ('restore', 'list', 'repair'):
            self.assertIn(f'  {name} ', self.out)

    def test_a_command_there_is_none_of_is_refused(self) -> None:
        self.assertEqual(2, self.run_command('frobnicate'))

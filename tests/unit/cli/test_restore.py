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

"""Memory is restored without nova-compute."""

import datetime

from nova_freemem import exceptions
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.cli import base
from tests.unit.cli.base import OTHER_UUID
from tests.unit.cli.base import UUID


class RestoreTest(base.CommandTestCase):
    def test_all_guests_have_their_memory_again(self) -> None:
        guests = [self.add_guest(uuid) for uuid in (UUID, OTHER_UUID)]
        self.assertEqual(0, self.run_command('restore', '--all'))
        for guest in guests:
            self.assert_restored(guest)
        self.assertEqual(
            [
                f'{UUID}: 1048576 -> 4194304 KiB in 2.6 s',
                f'{OTHER_UUID}: 1048576 -> 4194304 KiB in 2.6 s',
            ],
            self.out.splitlines(),
        )
        self.assertEqual('', self.err)

    def test_only_the_specified_guests_are_restored(self) -> None:
        guest, other = (self.add_guest(uuid) for uuid in (UUID, OTHER_UUID))
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assert_restored(guest)
        self.assertEqual(1 * GIB, other.target_kib)

    def test_all_guests_are_restored_at_the_same_time(self) -> None:
        for number in range(20):
            self.add_guest(f'{UUID[:-2]}{number:02}')
        started_at = self.clock.now()
        self.assertEqual(0, self.run_command('restore', '--all'))
        self.assertLess(self.clock.now() - started_at, 4)

    def test_nothing_to_restore_is_said(self) -> None:
        self.add_guest().metadata = None
        self.assertEqual(0, self.run_command('restore', '--all'))
        self.assertEqual(
            'No guest of this host has outstanding memory.\n', self.out
        )
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assertEqual(f'{UUID}: no outstanding memory\n', self.out)

    def assert_not_restored(self, *because: str) -> None:
        """One line says why, and the other guest is restored all the same."""
        other = self.add_guest(OTHER_UUID)
        self.assertEqual(
            1,
            self.run_command(
                'restore', UUID, OTHER_UUID, '--wait-seconds', '30'
            ),
        )
        (line,) = self.err.splitlines()
        self.assertIn(f'{UUID}: not restored: ', line)
        for words in because:
            self.assertIn(words, line)
        self.assert_restored(other)

    def test_a_guest_that_is_migrating_is_skipped(self) -> None:
        guest = self.add_guest()
        guest.transferred_kib = 7
        self.assert_not_restored(
            'the guest is migrating or in another job; try again later'
        )
        self.assertEqual(1 * GIB, guest.target_kib)

    def test_a_guest_that_is_paused_is_skipped(self) -> None:
        self.add_guest().running = False
        self.assert_not_restored('the guest is paused; try again later')

    def test_an_unreadable_entry_is_reported_with_the_command_to_run(
        self,
    ) -> None:
        guest = self.add_guest()
        guest.metadata = base.UNREADABLE
        self.assert_not_restored(
            'its journal entry cannot be read: it has format 2',
            f'"nova-freemem repair {UUID}"',
        )
        self.assertEqual(base.UNREADABLE, guest.metadata)
        self.assertEqual(1 * GIB, guest.target_kib)

    def test_a_guest_that_is_not_here_is_named(self) -> None:
        self.assert_not_restored('no domain')

    def test_the_entry_of_a_late_guest_stays(self) -> None:
        guest = self.add_guest(deflate_kib_per_second=1 * MIB)
        self.assert_not_restored(
            'of 4194304 KiB after 30 s; the rest stays outstanding'
        )
        self.assertEqual(4 * GIB, guest.target_kib)
        self.assertIsNotNone(guest.metadata)

    def test_where_a_snapshot_is_taken_the_entry_stays_and_nobody_waits(
        self,
    ) -> None:
        guest = self.add_guest()
        guest.persistent = False
        started_at = self.clock.now()
        self.assertEqual(1, self.run_command('restore', UUID))
        self.assertLess(self.clock.now() - started_at, 5)
        self.assertIn('the guest has all its memory, but', self.err)
        self.assertEqual(4 * GIB, guest.actual_kib)
        self.assertIsNotNone(guest.metadata)
        guest.persistent = True
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assert_restored(guest)

    def test_an_error_of_libvirt_is_reported(self) -> None:
        for call in (2, 3, 4, 7):
            self.add_guest()
            self.host.domains[UUID].fault_at[call] = fakes.libvirt_error(
                exceptions.DomainBusy, 'a job is under way'
            )
            self.assert_not_restored('a job is under way')

    def test_a_guest_that_nova_compute_restores_meanwhile_is_done(
        self,
    ) -> None:
        guest = self.add_guest()
        self.clock.after(1, lambda: setattr(guest, 'metadata', None))
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assertEqual(f'{UUID}: restored already\n', self.out)

    def add_guest_before_its_release(
        self, source: str, age_seconds: float, node: str | None = None
    ) -> fakes.SimulatedGuest:
        """:returns: a guest that has all its memory, and an entry."""
        guest = self.add_guest()
        guest.actual_kib = guest.target_kib = guest.definition_kib = 4 * GIB
        guest.metadata = fakes.make_entry(
            source=source,
            node=node,
            released_at=datetime.datetime.fromtimestamp(
                self.clock.wall() - age_seconds, datetime.UTC
            ),
        ).to_xml()
        return guest

    def test_the_entry_of_a_release_about_to_start_is_kept(self) -> None:
        guest = self.add_guest_before_its_release('host1', 60)
        entry = guest.metadata
        self.assertEqual(0, self.run_command('restore', '--all'))
        self.assertEqual(entry, guest.metadata)
        self.assertEqual([], self.host.domains[UUID].called('set_balloon_kib'))
        (line,) = self.out.splitlines()
        self.assertIn(
            f'{UUID}: the guest has all its memory, and its journal entry',
            line,
        )
        self.assertIn('is kept', line)

    def test_a_migration_that_begins_meanwhile_is_not_disturbed(self) -> None:
        guest = self.add_guest()
        entries = []

        def begin_to_migrate() -> None:
            """Write an entry, once nova-compute has restored the guest."""
            self.add_guest_before_its_release('host1', 0)
            entries.append(self.host.domains[UUID].guest.metadata)
            guest.actual_kib = guest.memory_kib
            guest.metadata = entries[0]
            self.clock.after(0.3, lambda: setattr(guest, 'target_kib', GIB))

        domain = self.host.domains[UUID]
        self.clock.after(1, begin_to_migrate)
        self.assertEqual(0, self.run_command('restore', UUID))
        self.assertEqual(f'{UUID}: restored already\n', self.out)
        self.clock.wait(10)
        self.assertEqual((entries[0], GIB), (guest.metadata, guest.target_kib))
        self.assertEqual(1, len(domain.called('set_balloon_kib')))

    def test_so_it_is_where_nova_has_another_name_for_the_host(self) -> None:
        guest = self.add_guest_before_its_release('compute-7', 60, 'host1')
        entry = guest.metadata
        self.assertEqual(0, self.run_command('restore', '--all'))
        self.assertEqual(entry, guest.metadata)
        self.assertIn('is kept', self.out)

    def test_a_whole_guest_that_landed_here_has_its_entry_erased(self) -> None:
        guest = self.add_guest_before_its_release('host2', 60)
        self.assertEqual(0, self.run_command('restore', '--all'))
        self.assert_restored(guest)

    def test_an_entry_older_than_any_release_is_erased(self) -> None:
        guest = self.add_guest_before_its_release('host1', 2 * 3600)
        self.assertEqual(0, self.run_command('restore', '--all'))
        self.assert_restored(guest)

    def test_neither_or_both_of_all_and_servers_is_refused(self) -> None:
        for words in ((), ('--all', UUID)):
            self.assertEqual(2, self.run_command('restore', *words))
            self.assertEqual(
                'nova-freemem: Specify either --all or one or more servers.\n',
                self.err,
            )
        self.connect.assert_not_called()

    def test_a_wait_that_is_not_a_number_is_refused(self) -> None:
        for text in ('-1', 'long'):
            self.assertEqual(
                2,
                self.run_command('restore', '--all', f'--wait-seconds={text}'),
            )
            self.assertIn(text, self.err)

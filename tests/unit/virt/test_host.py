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

"""The guests of a host, from libvirt's own test driver: no daemon, no guest.

It keeps domains and their metadata as the others do.
"""

import contextlib
import time
from unittest import mock

import libvirt

from nova_freemem import exceptions
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts
from tests import base
from tests.unit.virt import test_guest

UUID = '2c5d6a2e-6a0f-4f0e-9a55-{:012x}'

DOMAIN = """
<domain type="test">
  <name>instance-{number:08x}</name>
  <uuid>{uuid}</uuid>
  <memory>4194304</memory>
  <os><type>hvm</type></os>
</domain>
"""

ENTRY = '<outstanding format="1"/>'


class HostTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.host = hosts.Host.at('test:///default')
        self.connection = self.host._connect()
        self.addCleanup(self.connection.close)

    def add_guest(
        self, number: int, *, outstanding: bool
    ) -> libvirt.virDomain:
        handle = self.connection.createXML(
            DOMAIN.format(number=number, uuid=UUID.format(number)), 0
        )
        if outstanding:
            guests.Guest(handle).write_metadata(ENTRY)
        return handle

    def test_it_has_a_name(self) -> None:
        self.assertEqual(self.connection.getHostname(), self.host.name())

    def test_it_tells_the_versions_of_libvirt_and_the_hypervisor(
        self,
    ) -> None:
        libvirt_version, hypervisor = self.host.versions()
        self.assertRegex(libvirt_version, r'^\d+\.\d+\.\d+$')
        self.assertEqual(
            libvirt.getVersion(),
            sum(
                int(part) * 1000**place
                for place, part in enumerate(
                    reversed(libvirt_version.split('.'))
                )
            ),
        )
        self.assertEqual('0.0.2', hypervisor)

    def test_all_guests_that_are_on_are_listed(self) -> None:
        (own,) = self.host.uuids()
        for number in (2, 1):
            self.add_guest(number, outstanding=False)
        self.add_guest(3, outstanding=False).destroy()
        self.assertEqual(
            sorted([own, UUID.format(1), UUID.format(2)]), self.host.uuids()
        )

    def test_guests_with_a_journal_entry_are_found(self) -> None:
        for number in range(5):
            self.add_guest(number, outstanding=number in (1, 3))
        self.assertEqual(
            {UUID.format(1): ENTRY, UUID.format(3): ENTRY},
            self.host.journal_entries(),
        )

    def test_five_hundred_take_less_than_a_second_of_cpu(self) -> None:
        for number in range(500):
            self.add_guest(number, outstanding=number % 10 == 0)
        started_at = time.process_time()
        self.assertEqual(50, len(self.host.journal_entries()))
        self.assertLess(time.process_time() - started_at, 1)

    def test_a_guest_that_is_off_is_not_read(self) -> None:
        self.add_guest(1, outstanding=True).destroy()
        self.assertEqual({}, self.host.journal_entries())

    def test_a_guest_that_leaves_meanwhile_is_no_error(self) -> None:
        handles = [
            self.add_guest(number, outstanding=True) for number in (1, 2)
        ]
        handles[0].destroy()
        connection = mock.Mock(listAllDomains=lambda _flags: handles)
        self.assertEqual(
            {UUID.format(2): ENTRY},
            hosts.Host(lambda: connection).journal_entries(),
        )

    def test_a_guest_is_found_by_its_uuid(self) -> None:
        self.add_guest(1, outstanding=True)
        guest = self.host.guest(UUID.format(1))
        self.assertEqual(ENTRY, guest.read_metadata())

    def test_all_guests_that_run_are_found(self) -> None:
        for number in (1, 2, 3):
            self.add_guest(number, outstanding=number == 1)
        self.add_guest(4, outstanding=True).destroy()
        self.assertEqual(
            [UUID.format(number) for number in (1, 2, 3)],
            sorted(guest.uuid for guest in self.host.active_guests())[:3],
        )

    def test_a_guest_that_is_not_here_is_gone(self) -> None:
        self.assertRaises(
            exceptions.DomainGone, self.host.guest, UUID.format(7)
        )

    def test_a_list_that_cannot_be_read_is_an_error(self) -> None:
        connection = mock.Mock()
        connection.listAllDomains.side_effect = test_guest.libvirt_error(
            libvirt.VIR_ERR_INTERNAL_ERROR, 'client socket is closed'
        )
        error = self.assertRaises(
            exceptions.LibvirtError,
            hosts.Host(lambda: connection).journal_entries,
        )
        self.assertIn('client socket is closed', str(error))

    def test_a_failed_connection_is_one_line(self) -> None:
        error = self.assertRaises(
            exceptions.LibvirtError,
            hosts.Host.at,
            'test:///no/such/file',
        )
        self.assertIn('connect to test:///no/such/file', str(error))
        self.assertNotIn('\n', str(error))


class ConnectionsTest(base.TestCase):
    """Each user has a connection of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.opened: list[mock.Mock] = []
        self.connections = hosts.Connections(self.open, spare=2)

    def open(self) -> mock.Mock:
        self.opened.append(mock.create_autospec(libvirt.virConnect))
        return self.opened[-1]

    def use(self, users: int) -> list[object]:
        """:returns: the connections of so many users at a time."""
        with contextlib.ExitStack() as stack:
            lent = [
                stack.enter_context(self.connections.host())
                for _user in range(users)
            ]
            return [host._connect() for host in lent]

    def test_users_at_the_same_time_share_none(self) -> None:
        self.assertEqual(self.opened, self.use(5))

    def test_users_one_after_the_other_share_one(self) -> None:
        for _time in range(10):
            self.assertEqual(self.opened, self.use(1))
        self.assertEqual(1, len(self.opened))

    def test_no_more_are_kept_than_are_used(self) -> None:
        self.use(5)
        self.use(3)
        self.assertEqual(6, len(self.opened))

    def test_after_an_error_it_is_kept_all_the_same(self) -> None:
        with contextlib.suppress(ZeroDivisionError), self.connections.host():
            raise ZeroDivisionError
        self.use(1)
        self.assertEqual(1, len(self.opened))

    def test_no_more_are_lent_at_a_time_than_there_may_be(self) -> None:
        self.connections = hosts.Connections(self.open, spare=1, most=3)
        self.use(3)
        error = self.assertRaises(exceptions.LibvirtError, self.use, 4)
        self.assertIn('all 3 connections are in use', str(error))
        self.use(3)

    def test_one_that_cannot_be_opened_does_not_count(self) -> None:
        opened = self.patch_autospec(
            self, 'open', side_effect=test_guest.libvirt_error(1, 'refused')
        )
        self.connections = hosts.Connections(self.open, spare=1, most=1)
        self.assertRaises(exceptions.LibvirtError, self.use, 1)
        opened.side_effect = None
        self.use(1)

    def test_one_whose_libvirtd_was_restarted_is_replaced(self) -> None:
        self.use(2)
        for connection in self.opened:
            connection.getLibVersion.side_effect = test_guest.libvirt_error(
                libvirt.VIR_ERR_INTERNAL_ERROR, 'client socket is closed'
            )
        (connection,) = self.use(1)
        self.assertIs(self.opened[2], connection)

    def test_a_libvirtd_that_is_down_is_an_error(self) -> None:
        connections = hosts.Connections(
            mock.Mock(
                side_effect=test_guest.libvirt_error(
                    libvirt.VIR_ERR_NO_CONNECT, 'connection refused'
                )
            ),
            spare=2,
        )
        error = self.assertRaises(
            exceptions.LibvirtError, connections.host().__enter__
        )
        self.assertIn('connection refused', str(error))

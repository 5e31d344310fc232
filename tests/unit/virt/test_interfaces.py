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

"""How fast the interface with an address is, at most."""

import pathlib
import socket
import types
from unittest import mock

import fixtures
import psutil

from nova_freemem.virt import interfaces
from tests import base

ADDRESS = '192.0.2.1'


class SpeedTest(base.TestCase):
    """A host whose interfaces the kernel shows as these tests say."""

    def setUp(self) -> None:
        super().setUp()
        self.addresses = self.patch_autospec(
            psutil, 'net_if_addrs', return_value={}
        )
        self.stats = self.patch_autospec(
            psutil, 'net_if_stats', return_value={}
        )
        self.sysfs = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_freemem.virt.interfaces.SYSFS', self.sysfs
            )
        )

    def have(
        self,
        name: str,
        speed_mbps: int | None,
        *lower: str,
        address: str | None = None,
        shows: str | None = None,
    ) -> None:
        """Have one more interface.

        :param name: its name
        :param speed_mbps: what it reports, None where it is not reported on
        :param lower: the interfaces it stands on
        :param address: what it has, besides the one of its hardware
        :param shows: what sysfs shows of it
        """
        of_it = [types.SimpleNamespace(address='02:00:00:00:00:01')]
        if address is not None:
            of_it.append(types.SimpleNamespace(address=address))
        self.addresses.return_value[name] = of_it
        if speed_mbps is not None:
            self.stats.return_value[name] = types.SimpleNamespace(
                speed=speed_mbps
            )
        for entry in [*(f'lower_{one}' for one in lower), shows]:
            if entry is not None:
                (self.sysfs / name / entry).mkdir(parents=True)

    def card(self, name: str, speed_mbps: int | None) -> None:
        self.have(name, speed_mbps, shows='device')

    def speed(
        self, address: str = ADDRESS, connections: int = 1
    ) -> int | None:
        return interfaces.speed_mbps(frozenset({address}), connections)

    def test_it_is_the_speed_of_the_interface_with_the_address(self) -> None:
        self.have('eth0', 100, address='192.0.2.9')
        self.have('eth1', 10_000, address=ADDRESS)
        self.assertEqual(10_000, self.speed())

    def test_an_interface_without_a_speed_has_none(self) -> None:
        for speed_mbps in (0, -1, None):
            self.have('eth0', speed_mbps, address=ADDRESS)
            self.assertIsNone(self.speed())

    def test_an_address_of_no_interface_has_none(self) -> None:
        self.have('eth0', 100, address='192.0.2.9')
        self.assertIsNone(self.speed())
        self.assertIsNone(interfaces.speed_mbps(frozenset()))

    def test_an_address_is_recognized_as_the_kernel_writes_it(self) -> None:
        self.have('eth0', 100, address='2001:db8::1%eth0')
        (written,) = interfaces.resolved('2001:0DB8:0:0::0001')
        self.assertEqual(100, self.speed(written))

    def test_a_bridge_is_as_fast_as_the_card_in_it(self) -> None:
        """Whatever the interfaces of guests report, and the bridge."""
        self.have('br0', 10_000, 'eth0', 'tap1', address=ADDRESS)
        self.card('eth0', 1000)
        self.have('tap1', 10_000)
        self.assertEqual(1000, self.speed())

    def test_a_vlan_on_a_bond_is_as_fast_as_one_card_of_it(self) -> None:
        self.have('vlan7', 20_000, 'bond0', address=ADDRESS)
        self.have('bond0', 20_000, 'eth0', 'eth1', shows='bonding')
        self.card('eth0', 10_000)
        self.card('eth1', 10_000)
        self.assertEqual(10_000, self.speed())
        self.assertEqual(20_000, self.speed(connections=2))
        self.assertEqual(20_000, self.speed(connections=8))

    def test_one_connection_takes_the_fastest_card_at_most(self) -> None:
        self.have('bond0', 11_000, 'eth0', 'eth1', 'eth2', address=ADDRESS)
        (self.sysfs / 'bond0' / 'bonding').mkdir()
        for name, speed_mbps in (('eth0', 1000), ('eth1', 10_000)):
            self.card(name, speed_mbps)
        self.card('eth2', 0)
        self.assertEqual(10_000, self.speed())

    def test_what_stands_on_cards_without_a_speed_reports_its_own(
        self,
    ) -> None:
        self.have('br0', 2500, 'eth0', address=ADDRESS)
        self.card('eth0', None)
        self.assertEqual(2500, self.speed())

    def test_interfaces_that_stand_on_each_other_do_no_harm(self) -> None:
        self.have('br0', 0, 'br1', address=ADDRESS)
        self.have('br1', 0, 'br0')
        self.assertIsNone(self.speed())


class ResolvedTest(base.TestCase):
    def test_an_address_stands_for_itself(self) -> None:
        for address in (ADDRESS, '2001:db8::1'):
            self.assertEqual({address}, interfaces.resolved(address))

    def test_a_name_stands_for_its_addresses(self) -> None:
        self.patch_autospec(
            socket,
            'getaddrinfo',
            return_value=[
                (socket.AF_INET, 1, 6, '', (ADDRESS, 0)),
                (socket.AF_INET6, 1, 6, '', ('2001:db8::1', 0, 0, 0)),
            ],
        )
        self.assertEqual(
            {ADDRESS, '2001:db8::1'}, interfaces.resolved('host-a.example')
        )

    def test_a_name_that_is_not_known_stands_for_none(self) -> None:
        for error in (socket.gaierror('unknown'), UnicodeError('too long')):
            with mock.patch.object(
                socket, 'getaddrinfo', autospec=True, side_effect=error
            ):
                self.assertEqual(frozenset(), interfaces.resolved('nobody'))


class HostTest(base.TestCase):
    def test_the_interfaces_of_this_host_can_be_read(self) -> None:
        with mock.patch.object(
            psutil,
            'net_if_stats',
            autospec=True,
            side_effect=psutil.net_if_stats,
        ) as read:
            speed_mbps = interfaces.speed_mbps(
                interfaces.resolved('127.0.0.1')
            )
        self.assertEqual(1, read.call_count)
        self.assertTrue(speed_mbps is None or speed_mbps > 0)

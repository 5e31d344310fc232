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

"""How fast the interface with an address is."""

import types
from unittest import mock

import psutil

from nova_freemem.virt import interfaces
from tests import base

ADDRESS = '192.0.2.1'


class SpeedTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addresses = self.patch_autospec(psutil, 'net_if_addrs')
        self.stats = self.patch_autospec(psutil, 'net_if_stats')

    def set_interfaces(self, speeds_mbps: dict[str, int | None]) -> None:
        """:param speeds_mbps: by address; None where there is no speed"""
        self.addresses.return_value = {
            f'eth{number}': [
                types.SimpleNamespace(address='02:00:00:0:0:1'),
                types.SimpleNamespace(address=address),
            ]
            for number, address in enumerate(speeds_mbps)
        }
        self.stats.return_value = {
            f'eth{number}': types.SimpleNamespace(speed=speed)
            for number, speed in enumerate(speeds_mbps.values())
            if speed is not None
        }

    def test_it_is_the_speed_of_the_interface_with_the_address(self) -> None:
        self.set_interfaces({'192.0.2.9': 100, ADDRESS: 10_000})
        self.assertEqual(10_000, interfaces.speed_mbps(ADDRESS))

    def test_an_interface_without_a_speed_has_none(self) -> None:
        for speed in (0, None):
            self.set_interfaces({'192.0.2.9': 100, ADDRESS: speed})
            self.assertIsNone(interfaces.speed_mbps(ADDRESS))

    def test_an_address_of_no_interface_has_none(self) -> None:
        self.set_interfaces({'192.0.2.9': 100})
        self.assertIsNone(interfaces.speed_mbps(ADDRESS))


class HostTest(base.TestCase):
    def test_the_interfaces_of_this_host_can_be_read(self) -> None:
        with mock.patch.object(
            psutil,
            'net_if_stats',
            autospec=True,
            side_effect=psutil.net_if_stats,
        ) as read:
            speed_mbps = interfaces.speed_mbps('127.0.0.1')
        self.assertEqual(1, read.call_count)
        self.assertTrue(speed_mbps is None or speed_mbps > 0)

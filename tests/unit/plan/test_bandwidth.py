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

"""What the migration network carries, and how that is known."""

import types
from unittest import mock

import psutil

from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan.bandwidth import Origin
from tests import base

ADDRESS = '192.0.2.1'
GIGABIT_KIB_PER_SECOND = 122070.3125


class LinksTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addresses = self.patch_autospec(psutil, 'net_if_addrs')
        self.stats = self.patch_autospec(psutil, 'net_if_stats')
        self.set_interfaces({})

    def set_interfaces(self, speeds_mbit: dict[str, int | None]) -> None:
        """:param speeds_mbit: by address; None where there is no speed"""
        self.addresses.return_value = {
            f'eth{number}': [
                types.SimpleNamespace(address='02:00:00:0:0:1'),
                types.SimpleNamespace(address=address),
            ]
            for number, address in enumerate(speeds_mbit)
        }
        self.stats.return_value = {
            f'eth{number}': types.SimpleNamespace(speed=speed)
            for number, speed in enumerate(speeds_mbit.values())
            if speed is not None
        }

    def test_what_is_configured_counts_before_all_else(self) -> None:
        links = bandwidths.Bandwidths(25_000, ADDRESS)
        links.remember('dest', 1000.0)
        self.set_interfaces({ADDRESS: 10_000})
        self.assertEqual('25000 Mbit/s configured', str(links.rate('dest')))

    def test_what_was_seen_counts_for_that_destination(self) -> None:
        links = bandwidths.Bandwidths(0, ADDRESS)
        self.set_interfaces({ADDRESS: 10_000})
        links.remember('dest', GIGABIT_KIB_PER_SECOND)
        self.assertEqual(
            '1000 Mbit/s seen in the last migrations there',
            str(links.rate('dest')),
        )
        self.assertEqual(Origin.INTERFACE, links.rate('other').origin)

    def test_the_latest_transfer_counts_most(self) -> None:
        links = bandwidths.Bandwidths(0, ADDRESS)
        for rate in (800.0, 800.0, 1600.0):
            links.remember('dest', rate)
        self.assertEqual(1200.0, links.rate('dest').kib_per_second)
        links.remember('dest', 1600.0)
        self.assertEqual(1400.0, links.rate('dest').kib_per_second)

    def test_unseen_it_is_as_fast_as_the_interface(self) -> None:
        self.set_interfaces({'192.0.2.9': 100, ADDRESS: 10_000})
        rate = bandwidths.Bandwidths(0, ADDRESS).rate('dest')
        self.assertEqual('10000 Mbit/s speed of the interface', str(rate))
        self.assertEqual(10 * GIGABIT_KIB_PER_SECOND, rate.kib_per_second)

    def test_an_interface_that_does_not_tell_leaves_an_assumption(
        self,
    ) -> None:
        for speeds_mbit in (
            {},
            {ADDRESS: 0},
            {ADDRESS: None},
            {'192.0.2.9': 100},
        ):
            self.set_interfaces(speeds_mbit)
            rate = bandwidths.Bandwidths(0, ADDRESS).rate('dest')
            self.assertEqual('1000 Mbit/s assumed', str(rate))
            self.assertEqual(GIGABIT_KIB_PER_SECOND, rate.kib_per_second)


class InterfaceTest(base.TestCase):
    def test_the_interfaces_of_this_host_can_be_read(self) -> None:
        with mock.patch.object(
            psutil,
            'net_if_stats',
            autospec=True,
            side_effect=psutil.net_if_stats,
        ) as asked:
            speed_mbps = bandwidths.interface_speed_mbps('127.0.0.1')
        self.assertEqual(1, asked.call_count)
        self.assertTrue(speed_mbps is None or speed_mbps > 0)

    def test_no_two_origins_read_the_same(self) -> None:
        self.assertEqual(len(Origin), len({one.value for one in Origin}))

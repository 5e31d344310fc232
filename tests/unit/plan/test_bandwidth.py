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

"""What a path carries: configured, measured, read or assumed."""

from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan.bandwidth import Origin
from tests import base

GIGABIT_KIB_PER_SECOND = 122070.3125


class BandwidthsTest(base.TestCase):
    """An interface of 10 Gb/s, unless said otherwise."""

    def bandwidths(
        self, configured_mbps: int = 0, interface_mbps: int | None = 10_000
    ) -> bandwidths.Bandwidths:
        return bandwidths.Bandwidths(configured_mbps, lambda: interface_mbps)

    def test_what_is_configured_counts_before_all_else(self) -> None:
        paths = self.bandwidths(configured_mbps=25_000)
        paths.learn('dest', 1000.0)
        self.assertEqual('25000 Mbit/s (configured)', str(paths.to('dest')))

    def test_what_was_measured_counts_for_that_destination(self) -> None:
        paths = self.bandwidths()
        paths.learn('dest', GIGABIT_KIB_PER_SECOND)
        self.assertEqual(
            '1000 Mbit/s (measured in the last migrations there)',
            str(paths.to('dest')),
        )
        self.assertEqual(Origin.INTERFACE, paths.to('other').origin)

    def test_the_latest_transfer_counts_most(self) -> None:
        paths = self.bandwidths()
        for kib_per_second in (800.0, 800.0, 1600.0):
            paths.learn('dest', kib_per_second)
        self.assertEqual(1200.0, paths.to('dest').kib_per_second)
        paths.learn('dest', 1600.0)
        self.assertEqual(1400.0, paths.to('dest').kib_per_second)

    def test_the_destination_learnt_first_makes_room(self) -> None:
        paths = self.bandwidths()
        for number in range(bandwidths.MOST_DESTINATIONS + 1):
            paths.learn(str(number), GIGABIT_KIB_PER_SECOND)
        paths.learn('1', GIGABIT_KIB_PER_SECOND)
        for dest, origin in (
            ('0', Origin.INTERFACE),
            ('1', Origin.MEASURED),
            (str(bandwidths.MOST_DESTINATIONS), Origin.MEASURED),
        ):
            self.assertEqual(origin, paths.to(dest).origin)

    def test_unmeasured_it_is_as_fast_as_the_interface(self) -> None:
        bandwidth = self.bandwidths().to('dest')
        self.assertEqual(
            '10000 Mbit/s (speed of the interface)', str(bandwidth)
        )
        self.assertEqual(10 * GIGABIT_KIB_PER_SECOND, bandwidth.kib_per_second)

    def test_an_interface_that_does_not_tell_leaves_an_assumption(
        self,
    ) -> None:
        bandwidth = self.bandwidths(interface_mbps=None).to('dest')
        self.assertEqual('1000 Mbit/s (assumed)', str(bandwidth))
        self.assertEqual(GIGABIT_KIB_PER_SECOND, bandwidth.kib_per_second)

    def test_no_two_origins_read_the_same(self) -> None:
        self.assertEqual(len(Origin), len({one.value for one in Origin}))

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

"""What a path carries: configured, measured, limited or assumed."""

import contextlib
import dataclasses

from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan.bandwidth import Origin
from nova_freemem.plan.transfer_meter import Carried
from tests import base

GIGABIT_KIB_PER_SECOND = 122070.3125


@dataclasses.dataclass
class Paths:
    """What is known of the paths from a host, at some second."""

    known: bandwidths.Bandwidths
    second: float = 0.0

    def learn(
        self,
        dest: str,
        alone: float | None = None,
        shared: float | None = None,
        at_least: float = 0.0,
    ) -> None:
        self.known.learn(dest, Carried(alone, shared, at_least), self.second)

    def to(self, dest: str = 'dest') -> bandwidths.Bandwidth:
        return self.known.to(dest, self.second)


class BandwidthsTest(base.TestCase):
    """An interface of 10 Gb/s, unless said otherwise."""

    def paths(
        self,
        configured_mbps: int = 0,
        interface_mbps: int | None = 10_000,
        most_mib_per_second: int = 0,
    ) -> Paths:
        return Paths(
            bandwidths.Bandwidths(
                configured_mbps, lambda: interface_mbps, most_mib_per_second
            )
        )

    def test_what_is_configured_counts_before_all_else(self) -> None:
        paths = self.paths(configured_mbps=25_000)
        paths.learn('dest', 2000.0)
        self.assertEqual('25000 Mbit/s (configured)', str(paths.to()))
        self.assertTrue(paths.to().is_known)

    def test_what_was_measured_counts_for_that_destination(self) -> None:
        paths = self.paths()
        paths.learn('dest', GIGABIT_KIB_PER_SECOND)
        paths.learn('other', 2 * GIGABIT_KIB_PER_SECOND)
        self.assertEqual(
            '1000 Mbit/s (measured in the last migrations there)',
            str(paths.to()),
        )
        self.assertTrue(paths.to().is_known)

    def test_one_destination_informs_others_on_the_same_interface(
        self,
    ) -> None:
        paths = self.paths()
        for dest, gigabits in (('one', 2), ('two', 4), ('three', 9)):
            paths.learn(dest, gigabits * GIGABIT_KIB_PER_SECOND)
        self.assertEqual(
            '4000 Mbit/s (measured in the last migrations to other hosts)',
            str(paths.to('new')),
        )

    def test_the_latest_transfer_counts_most(self) -> None:
        paths = self.paths()
        for kib_per_second in (8000.0, 8000.0, 16000.0):
            paths.learn('dest', kib_per_second)
        self.assertEqual(12000.0, paths.to().kib_per_second)
        paths.learn('dest', 16000.0)
        self.assertEqual(14000.0, paths.to().kib_per_second)

    def test_a_transfer_that_did_not_tell_changes_nothing(self) -> None:
        paths = self.paths()
        paths.learn('dest', 8000.0)
        paths.learn('dest', None, None, 100.0)
        self.assertEqual(8000.0, paths.to().kib_per_second)

    def test_what_was_measured_long_ago_is_forgotten(self) -> None:
        paths = self.paths()
        paths.learn('dest', 8000.0)
        paths.second = bandwidths.FORGOTTEN_SECONDS
        self.assertEqual(Origin.ASSUMED, paths.to().origin)
        paths.learn('dest', 2000.0)
        self.assertEqual(2000.0, paths.to().kib_per_second)

    def test_the_destination_learnt_first_makes_room(self) -> None:
        paths = self.paths()
        for number in range(bandwidths.MOST_DESTINATIONS + 1):
            paths.learn(str(number), GIGABIT_KIB_PER_SECOND)
        paths.learn('1', GIGABIT_KIB_PER_SECOND)
        for dest, origin in (
            ('0', Origin.ELSEWHERE),
            ('1', Origin.MEASURED),
            (str(bandwidths.MOST_DESTINATIONS), Origin.MEASURED),
        ):
            self.assertEqual(origin, paths.to(dest).origin)

    def test_the_speed_of_an_interface_is_no_answer(self) -> None:
        paths = self.paths(interface_mbps=100_000)
        self.assertEqual('1000 Mbit/s (assumed)', str(paths.to()))
        self.assertFalse(paths.to().is_known)

    def test_no_path_is_assumed_to_be_faster_than_the_interface(self) -> None:
        self.assertEqual(
            '100 Mbit/s (assumed)', str(self.paths(interface_mbps=100).to())
        )

    def test_an_interface_that_does_not_tell_bounds_nothing(self) -> None:
        bandwidth = self.paths(interface_mbps=None).to()
        self.assertEqual('1000 Mbit/s (assumed)', str(bandwidth))
        self.assertEqual(GIGABIT_KIB_PER_SECOND, bandwidth.kib_per_second)

    def test_what_did_not_fill_the_path_was_carried_all_the_same(
        self,
    ) -> None:
        paths = self.paths()
        paths.learn('dest', at_least=5 * GIGABIT_KIB_PER_SECOND)
        self.assertEqual('5000 Mbit/s (assumed)', str(paths.to()))
        paths.learn('dest', at_least=500 * GIGABIT_KIB_PER_SECOND)
        self.assertEqual('10000 Mbit/s (assumed)', str(paths.to()))

    def test_no_two_origins_read_the_same(self) -> None:
        self.assertEqual(len(Origin), len({one.value for one in Origin}))


class LimitTest(BandwidthsTest):
    """Nova lets QEMU send 50 MiB/s, 419 Mbit/s, for one migration."""

    def paths(
        self,
        configured_mbps: int = 0,
        interface_mbps: int | None = 10_000,
        most_mib_per_second: int = 0,
    ) -> Paths:
        return super().paths(
            configured_mbps, interface_mbps, most_mib_per_second or 10**6
        )

    def test_what_nova_limits_is_known(self) -> None:
        limited = '419 Mbit/s (limited by live_migration_bandwidth)'
        paths = self.paths(most_mib_per_second=50)
        self.assertEqual(limited, str(paths.to()))
        self.assertTrue(paths.to().is_known)
        paths.learn('dest', GIGABIT_KIB_PER_SECOND)
        self.assertEqual(limited, str(paths.to()))
        paths.learn('slow', 5000.0)
        self.assertEqual(5000.0, paths.to('slow').kib_per_second)

    def test_what_is_configured_is_limited_too(self) -> None:
        paths = self.paths(configured_mbps=1000, most_mib_per_second=50)
        self.assertEqual(50 * 1024, paths.to().kib_per_second)

    def test_a_limit_that_limits_little_is_no_answer(self) -> None:
        paths = self.paths(most_mib_per_second=1000)
        self.assertEqual('1000 Mbit/s (assumed)', str(paths.to()))
        paths.learn('dest', at_least=100 * GIGABIT_KIB_PER_SECOND)
        self.assertEqual('8389 Mbit/s (assumed)', str(paths.to()))


class SharedTest(base.TestCase):
    """Transfers that are under way at the same time."""

    def setUp(self) -> None:
        super().setUp()
        self.paths = Paths(bandwidths.Bandwidths(0, lambda: None))

    def test_transfers_are_counted_while_they_are_under_way(self) -> None:
        known = self.paths.known
        with known.transferring(), known.transferring():
            self.assertEqual(2, known.transfers)
        self.assertEqual(0, known.transfers)
        with contextlib.suppress(KeyError), known.transferring():
            raise KeyError
        self.assertEqual(0, known.transfers)

    def test_thirty_at_the_same_time_do_not_teach_a_thirtieth(self) -> None:
        self.paths.learn('dest', shared=GIGABIT_KIB_PER_SECOND)
        self.assertEqual(GIGABIT_KIB_PER_SECOND, self.kib_per_second())

    def test_one_that_starts_beside_others_gets_its_share(self) -> None:
        for figures in (
            {'alone': GIGABIT_KIB_PER_SECOND},
            {'shared': GIGABIT_KIB_PER_SECOND},
        ):
            self.paths.learn('dest', **figures)
            with contextlib.ExitStack() as others:
                for _number in range(4):
                    others.enter_context(self.paths.known.transferring())
                self.assertEqual(
                    GIGABIT_KIB_PER_SECOND / 5, self.kib_per_second()
                )

    def test_one_alone_gets_no_more_than_one_did(self) -> None:
        """Several connections of QEMU carry what one of them cannot."""
        self.paths.learn('dest', GIGABIT_KIB_PER_SECOND)
        self.paths.learn('dest', shared=4 * GIGABIT_KIB_PER_SECOND)
        self.assertEqual(GIGABIT_KIB_PER_SECOND, self.kib_per_second())
        with self.paths.known.transferring():
            self.assertEqual(GIGABIT_KIB_PER_SECOND, self.kib_per_second())

    def kib_per_second(self) -> float:
        return self.paths.to().kib_per_second

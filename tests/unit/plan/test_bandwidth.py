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

    def test_what_is_measured_no_more_is_forgotten_all_the_same(self) -> None:
        # In a congested minute; from then on transfers end too soon to tell.
        paths = self.paths()
        paths.learn('dest', GIGABIT_KIB_PER_SECOND / 10)
        for _ in range(25):
            paths.second += 3600
            paths.learn('dest', at_least=1000.0)
        self.assertFalse(paths.to().is_known)

    def test_what_buffers_take_is_not_what_the_path_carries(self) -> None:
        paths = self.paths()
        paths.learn('dest', GIGABIT_KIB_PER_SECOND)
        paths.learn('dest', at_least=1.3 * GIGABIT_KIB_PER_SECOND)
        self.assertEqual(
            '1000 Mbit/s (measured in the last migrations there)',
            str(paths.to()),
        )

    def test_a_path_that_has_carried_much_more_since_carries_that(
        self,
    ) -> None:
        paths = self.paths()
        paths.learn('dest', GIGABIT_KIB_PER_SECOND / 10)
        paths.learn('dest', at_least=9 * GIGABIT_KIB_PER_SECOND)
        self.assertEqual(
            '9000 Mbit/s (measured in the last migrations there)',
            str(paths.to()),
        )
        # Then it is congested again.
        paths.learn('dest', GIGABIT_KIB_PER_SECOND / 10)
        self.assertEqual(
            '100 Mbit/s (measured in the last migrations there)',
            str(paths.to()),
        )

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
    """Migrations that are under way at the same time."""

    def paths(self, **configured: int) -> Paths:
        return Paths(
            bandwidths.Bandwidths(
                interface_speed_mbps=lambda: None,
                **{'configured_mbps': 0, **configured},
            )
        )

    def assert_shares(
        self, paths: Paths, *gigabits: float, dest: str = 'dest'
    ) -> None:
        """See what one expects beside none, one, two... others."""
        self.assertEqual(
            [round(each * GIGABIT_KIB_PER_SECOND) for each in gigabits],
            [
                round(paths.known.to(dest, 0.0, beside).kib_per_second)
                for beside in range(len(gigabits))
            ],
        )

    def test_thirty_at_the_same_time_do_not_teach_a_thirtieth(self) -> None:
        paths = self.paths()
        paths.learn('dest', shared=GIGABIT_KIB_PER_SECOND)
        self.assert_shares(paths, 1.0)

    def test_one_that_starts_beside_others_gets_its_share(self) -> None:
        for figures in (
            {'alone': GIGABIT_KIB_PER_SECOND},
            {'shared': GIGABIT_KIB_PER_SECOND},
        ):
            paths = self.paths()
            paths.learn('dest', **figures)
            for dest in ('dest', 'another'):
                self.assert_shares(paths, 1.0, 1 / 2, 1 / 3, dest=dest)

    def test_one_alone_gets_no_more_than_one_did(self) -> None:
        """Several transfers get what one connection of QEMU cannot."""
        paths = self.paths()
        paths.learn('dest', GIGABIT_KIB_PER_SECOND)
        paths.learn('dest', shared=2 * GIGABIT_KIB_PER_SECOND)
        self.assert_shares(paths, 1.0, 1.0, 2 / 3)

    def test_together_they_get_no_less_than_one(self) -> None:
        """As long as they were seen to, the path was not full."""
        paths = self.paths()
        paths.learn('dest', GIGABIT_KIB_PER_SECOND)
        paths.learn('dest', shared=GIGABIT_KIB_PER_SECOND / 2)
        self.assert_shares(paths, 1.0, 1 / 2)

    def test_what_is_configured_is_shared_too(self) -> None:
        paths = self.paths(configured_mbps=1000)
        self.assert_shares(paths, 1.0, 1 / 2, 1 / 3)
        paths.learn('dest', shared=2 * GIGABIT_KIB_PER_SECOND)
        self.assert_shares(paths, 1.0, 1.0, 2 / 3)
        self.assert_shares(paths, 1.0, 1 / 2, dest='another')

    def test_what_is_assumed_is_shared_too(self) -> None:
        self.assert_shares(self.paths(), 1.0, 1 / 2, 1 / 3)

    def test_what_nova_limits_is_not_shared_where_the_path_has_room(
        self,
    ) -> None:
        paths = self.paths(most_mib_per_second=50)
        limit = 50 * 1024 / GIGABIT_KIB_PER_SECOND
        self.assert_shares(paths, limit, limit, 1 / 3)
        paths.learn('dest', shared=GIGABIT_KIB_PER_SECOND)
        self.assert_shares(paths, limit, limit, 1 / 3)

    def test_people_see_that_it_is_shared(self) -> None:
        paths = self.paths(configured_mbps=900)
        self.assertEqual(
            '300 Mbit/s (configured; shared by 3 migrations)',
            str(paths.known.to('dest', 0.0, 2)),
        )

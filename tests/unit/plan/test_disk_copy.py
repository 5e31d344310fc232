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

import math

import hypothesis
from hypothesis import strategies

from nova_freemem.plan import disk_copy
from nova_freemem.virt.transfer_progress import TransferProgress
from tests import base
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

RATE = 100.0 * MIB


class DiskCopyTest(base.TestCase):
    """A disk of 2 GiB, over a path that carries 100 MiB/s."""

    def setUp(self) -> None:
        super().setUp()
        self.copy = disk_copy.DiskCopy()
        self.seconds = 1000.0

    def show(self, remaining_kib: float | None, sent_kib: float = 0.0) -> None:
        """Show how far the copy is, five times a second."""
        self.seconds += 0.2
        self.copy.add(
            self.seconds,
            TransferProgress(sent_kib, disks_remaining_kib=remaining_kib),
        )

    def run_copy(
        self, seconds: float, left_kib: float, rate: float = RATE
    ) -> float:
        """Copy for some time, and return what is left then."""
        for _look in range(round(seconds * 5)):
            left_kib = max(0.0, left_kib - 0.2 * rate)
            self.show(left_kib)
        return left_kib

    def test_the_end_of_the_copy_is_foretold(self) -> None:
        self.run_copy(2, 2.0 * GIB)
        self.assertAlmostEqual(18.48, self.copy.left_seconds(), delta=0.01)
        self.assertFalse(self.copy.is_over)

    def test_a_path_that_gets_slower_is_noticed(self) -> None:
        left_kib = self.run_copy(10, 2.0 * GIB)
        left_kib = self.run_copy(6, left_kib, RATE / 4)
        self.assertAlmostEqual(
            left_kib / (RATE / 4), self.copy.left_seconds(), delta=0.01
        )

    def test_a_copy_that_stands_still_takes_for_ever(self) -> None:
        left_kib = self.run_copy(10, 2.0 * GIB)
        self.run_copy(6, left_kib, 0.0)
        self.assertEqual(math.inf, self.copy.left_seconds())

    def test_a_guest_that_writes_as_fast_as_it_is_copied_takes_for_ever(
        self,
    ) -> None:
        self.run_copy(6, 1.0 * GIB, -RATE)
        self.assertEqual(math.inf, self.copy.left_seconds())

    def test_one_look_tells_nothing_of_the_rate(self) -> None:
        self.show(2.0 * GIB)
        self.assertIsNone(self.copy.left_seconds())
        self.show(1.9 * GIB)
        self.assertIsNone(self.copy.left_seconds())

    def test_before_qemu_copies_nothing_is_known(self) -> None:
        """libvirt shows a total of 0 until the mirrors have begun."""
        self.copy.add(self.seconds, None)
        for _look in range(50):
            self.show(0.0)
        self.assertIsNone(self.copy.left_seconds())
        self.run_copy(2, 2.0 * GIB)
        self.assertAlmostEqual(18.48, self.copy.left_seconds(), delta=0.01)

    def test_where_libvirt_tells_nothing_of_disks_memory_is_seen(self) -> None:
        for _look in range(50):
            self.show(None)
        self.assertIsNone(self.copy.left_seconds())
        self.assertFalse(self.copy.is_over)
        self.show(None, sent_kib=4.0)
        self.assertTrue(self.copy.is_over)

    def test_what_the_guest_writes_later_does_not_begin_it_anew(self) -> None:
        self.run_copy(2, 100.0 * MIB)
        self.assertEqual(0.0, self.copy.left_seconds())
        self.assertFalse(self.copy.is_over)
        self.show(0.0, sent_kib=4.0)
        self.show(64.0, sent_kib=8.0)
        self.assertTrue(self.copy.is_over)

    @hypothesis.given(
        strategies.lists(
            strategies.tuples(
                strategies.floats(0, 1e12), strategies.floats(0.01, 100)
            )
        )
    )
    def test_whatever_libvirt_tells_is_a_time_or_none(
        self, looks: list[tuple[float, float]]
    ) -> None:
        copy = disk_copy.DiskCopy()
        seconds = 0.0
        for remaining_kib, later_seconds in looks:
            seconds += later_seconds
            copy.add(
                seconds,
                TransferProgress(0.0, disks_remaining_kib=remaining_kib),
            )
            left_seconds = copy.left_seconds()
            self.assertTrue(left_seconds is None or left_seconds >= 0)


class WhenToReleaseTest(base.TestCase):
    def test_a_release_begins_as_long_before_the_end_as_it_takes(self) -> None:
        for left_seconds, is_time in (
            (None, False),
            (math.inf, False),
            (10.0, False),
            (3.9, True),
            (0.0, True),
        ):
            self.assertIs(
                is_time, disk_copy.is_time_to_release(left_seconds, 4.0)
            )

    def test_one_that_is_to_wait_for_memory_does(self) -> None:
        self.assertFalse(disk_copy.is_time_to_release(0.0, 0.0))

    def test_the_copy_is_looked_at_more_often_near_its_end(self) -> None:
        for left_seconds, seconds in (
            (None, 0.2),
            (math.inf, 1.0),
            (3600.0, 1.0),
            (5.0, 0.5),
            (4.1, 0.2),
            (1.0, 0.2),
        ):
            self.assertAlmostEqual(
                seconds, disk_copy.look_again_seconds(left_seconds, 4.0)
            )

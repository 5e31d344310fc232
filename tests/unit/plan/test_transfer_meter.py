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

"""The bandwidth of a path, read off a transfer."""

import hypothesis
from hypothesis import strategies

from nova_freemem.plan import transfer_meter
from nova_freemem.virt.transfer_progress import TransferProgress
from tests import base
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

LOOK_KIB_PER_SECOND = 2.0 * GIB
PATH = 100.0 * MIB


class TransferMeterTest(base.TestCase):
    """A transfer of 4 GiB over a path that carries 100 MiB/s."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def start(self) -> None:
        self.meter = transfer_meter.TransferMeter(LOOK_KIB_PER_SECOND)
        self.seconds = self.sent_kib = self.zero_kib = 0.0
        self.remaining_kib: float | None = 4.0 * GIB
        self.passes = 1
        self.throttle_percent: int | None = None
        self.beside: float | None = 0.0

    def go_on(
        self,
        seconds: float,
        sent_kib: float,
        zero_kib: float,
        late_seconds: float = 0.0,
    ) -> None:
        """Let so much be sent and looked at, and read the figures.

        :param late_seconds: after which the answer is read.
        """
        self.seconds += seconds
        asked_at_seconds = self.seconds - late_seconds
        self.sent_kib += sent_kib
        self.zero_kib += zero_kib
        if self.remaining_kib is not None:
            self.remaining_kib = max(
                0.0, self.remaining_kib - sent_kib - zero_kib
            )
        self.meter.add(
            self.seconds,
            TransferProgress(
                self.sent_kib,
                self.remaining_kib,
                self.zero_kib,
                self.passes,
                self.throttle_percent,
            ),
            asked_at_seconds,
        )

    def send(self, seconds: float, kib_per_second: float = PATH) -> None:
        """Send for some time, read ten times a second."""
        for _tenth in range(round(seconds * 10)):
            self.go_on(0.1, kib_per_second / 10, 0.0)

    def carried(self) -> transfer_meter.Carried:
        """Ask what the path carried, while others sent at some rate."""

        def sent_beside_kib(
            from_seconds: float, to_seconds: float
        ) -> float | None:
            if self.beside is None:
                return None
            return self.beside * (to_seconds - from_seconds)

        return self.meter.carried(sent_beside_kib)

    def assert_alone(self, kib_per_second: float | None) -> None:
        alone = self.carried().alone_kib_per_second
        if kib_per_second is None:
            self.assertIsNone(alone)
        else:
            self.assertAlmostEqual(kib_per_second, alone, delta=1.0)

    def assert_at_least(self, kib_per_second: float) -> None:
        """Fail unless it is known to have carried as much as that, or nearly.

        What the buffers may have taken does not count.
        """
        at_least = self.carried().at_least_kib_per_second
        self.assertLessEqual(at_least, kib_per_second + 1)
        self.assertGreaterEqual(
            at_least, kib_per_second - transfer_meter.BUFFERS_KIB - 1
        )

    def test_disks_that_are_copied_teach_nothing(self) -> None:
        """libvirt says that nothing of memory is left, or sent."""
        self.remaining_kib = 0.0
        self.send(60, 0.0)
        self.assert_alone(None)
        self.assertIsNone(self.meter.sending())
        self.assertEqual(0.0, self.carried().at_least_kib_per_second)
        self.remaining_kib = 4.0 * GIB
        self.send(3)
        self.assert_alone(PATH)

    def test_a_path_that_is_full_tells_what_it_carries(self) -> None:
        self.send(3)
        self.assert_alone(PATH)
        sending = self.meter.sending()
        self.assertAlmostEqual(PATH, sending.kib_per_second, delta=1.0)
        self.assertAlmostEqual(
            4 * GIB - 3 * PATH, sending.remaining_kib, delta=1.0
        )

    def test_what_was_sent_from_its_beginning_to_its_end(self) -> None:
        self.assertIsNone(self.meter.sent())
        self.send(60, 0.0)  # disks
        self.send(3)
        self.assertIsNone(self.meter.sent())
        self.meter.end(self.seconds + 0.5)
        sent = self.meter.sent()
        self.assertAlmostEqual(3 * PATH, sent.sent_kib, delta=1.0)
        self.assertAlmostEqual(3.4, sent.seconds, delta=0.01)

    def test_a_transfer_of_half_a_second_tells_it(self) -> None:
        self.send(0.5)
        self.assert_alone(PATH)

    def test_within_its_first_tenths_it_does_not(self) -> None:
        self.send(0.3)
        self.assert_alone(None)
        self.assertIsNone(self.meter.sending())

    def test_what_buffers_take_at_first_no_path_carries(self) -> None:
        self.go_on(0.1, 0.0, 0.0)
        self.go_on(0.1, 64.0 * MIB, 0.0)
        self.send(2)
        self.assert_alone(PATH)
        self.assert_at_least(PATH)

    def test_a_transfer_that_never_fills_the_path_teaches_a_lower_bound(
        self,
    ) -> None:
        self.remaining_kib = 0.0
        self.send(3, PATH / 2)
        self.assert_alone(None)
        self.assert_at_least(PATH / 2)

    def test_an_answer_that_is_read_late_does_not_raise_it(self) -> None:
        """The host is busy; the next answer is read at once."""
        self.remaining_kib = 0.0
        self.send(1, PATH / 2)
        self.go_on(0.3, PATH / 20, 0.0, late_seconds=0.2)
        self.go_on(0.1, 3 * PATH / 20, 0.0)
        self.send(1, PATH / 2)
        self.assert_at_least(PATH / 2)

    def test_buffers_that_grow_meanwhile_do_not_raise_it(self) -> None:
        """As when a slow path gets quicker, or by Linux's own tuning."""
        self.remaining_kib = 0.0
        self.send(2, PATH / 10)
        self.go_on(0.1, PATH / 100 + 10 * MIB, 0.0)
        self.send(2, PATH / 10)
        self.assertLessEqual(self.carried().at_least_kib_per_second, PATH / 10)

    def test_where_libvirt_does_not_tell_what_is_left_none_is_learnt(
        self,
    ) -> None:
        self.remaining_kib = None
        self.send(3)
        self.assert_alone(None)
        self.assertIsNone(self.meter.sending())

    def test_a_window_in_which_a_pass_ends_does_not_count(self) -> None:
        for _number in range(20):
            self.send(0.1, PATH / 9)
            self.passes += 1
        self.assert_alone(None)

    def test_a_guest_slowed_down_by_auto_converge_teaches_nothing(
        self,
    ) -> None:
        self.assertFalse(self.meter.throttled)
        self.throttle_percent = 20
        self.send(3, PATH / 3)
        self.assert_alone(None)
        self.assertTrue(self.meter.throttled)
        self.throttle_percent = 0
        self.send(3)
        self.assert_alone(PATH)

    def test_time_spent_looking_at_zeros_is_not_the_paths(self) -> None:
        self.send(1)
        for _number in range(20):
            # 0.7 s of each second are sent in, 0.3 s looked.
            self.go_on(0.1, 0.07 * PATH, 0.03 * LOOK_KIB_PER_SECOND)
        self.assert_alone(PATH)

    def test_a_few_zeros_between_do_not_matter(self) -> None:
        self.send(0.1)
        for _number in range(20):
            self.go_on(0.1, 0.098 * PATH, 0.002 * LOOK_KIB_PER_SECOND)
        alone = self.carried().alone_kib_per_second
        self.assertAlmostEqual(PATH, alone, delta=0.03 * PATH)

    def test_a_window_of_nothing_but_zeros_tells_how_fast_qemu_looks(
        self,
    ) -> None:
        self.send(1)
        self.assertIsNone(self.meter.look_kib_per_second)
        self.go_on(0.1, 0.0, 0.8 * GIB)
        self.go_on(0.1, 0.0, 0.6 * GIB)
        self.assertAlmostEqual(
            8 * GIB, self.meter.look_kib_per_second, delta=1.0
        )
        self.assert_alone(PATH)

    def test_a_path_that_was_cut_teaches_nothing(self) -> None:
        self.send(0.1)
        self.send(5, 10.0)
        self.assert_alone(None)

    def test_lately_counts_where_a_path_changes(self) -> None:
        self.send(10)
        self.send(5, PATH / 4)
        self.assert_alone(PATH / 4)

    def test_those_that_share_a_path_teach_what_it_carries_together(
        self,
    ) -> None:
        self.beside = PATH * 29 / 30
        self.send(3, PATH / 30)
        self.assert_alone(None)
        self.assertAlmostEqual(
            PATH, self.carried().shared_kib_per_second, delta=1.0
        )
        self.assertAlmostEqual(
            PATH / 30, self.meter.sending().kib_per_second, delta=1.0
        )

    def test_it_is_alone_beside_one_that_hardly_sends(self) -> None:
        self.beside = PATH / 20
        self.send(3, PATH * 19 / 20)
        self.assert_alone(PATH * 19 / 20)
        self.assertIsNone(self.carried().shared_kib_per_second)

    def test_while_it_is_not_known_what_others_send_nothing_is_learnt(
        self,
    ) -> None:
        self.send(3, PATH / 2)
        self.beside = None
        self.assert_alone(None)
        self.assertIsNone(self.carried().shared_kib_per_second)

    def test_figures_read_at_the_same_moment_are_one(self) -> None:
        self.send(1)
        self.go_on(0.001, 100.0 * MIB, 0.0)
        self.assert_alone(PATH)

    @hypothesis.given(
        path=strategies.floats(6e3, 1.2e7),
        rounds=strategies.lists(
            strategies.tuples(
                strategies.floats(0.1, 1.0), strategies.floats(0.0, 0.45)
            ),
            min_size=4,
            max_size=40,
        ),
    )
    def test_whatever_is_looked_at_between_the_path_is_told(
        self, path: float, rounds: list[tuple[float, float]]
    ) -> None:
        self.start()
        self.remaining_kib = 1e12
        self.go_on(0.1, path, 0.0)
        for seconds, looking_share in rounds:
            looking_seconds = seconds * looking_share
            self.go_on(
                seconds,
                path * (seconds - looking_seconds),
                LOOK_KIB_PER_SECOND * looking_seconds,
            )
        alone = self.carried().alone_kib_per_second
        if alone is not None:
            # By as much slower as half of that takes to look at.
            slower = 0.5 * path / LOOK_KIB_PER_SECOND
            self.assertLessEqual(alone, path * 1.001)
            self.assertGreaterEqual(alone, path / (1 + slower) * 0.999)

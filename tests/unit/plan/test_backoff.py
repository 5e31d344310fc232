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

"""Who came under pressure is not released for a while, each time longer."""

from nova_freemem.plan import backoff
from tests import base


class BackoffTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.backoff = backoff.Backoff()

    def test_a_guest_never_under_pressure_is_released(self) -> None:
        self.assertEqual(0, self.backoff.remaining_seconds('uuid', 1000))

    def test_a_guest_is_not_released_until_the_time_has_passed(self) -> None:
        self.backoff.add('uuid', 1000)
        self.assertEqual(600, self.backoff.remaining_seconds('uuid', 1000))
        self.assertEqual(1, self.backoff.remaining_seconds('uuid', 1599))
        self.assertEqual(0, self.backoff.remaining_seconds('uuid', 1600))

    def test_others_are_released(self) -> None:
        self.backoff.add('uuid', 1000)
        self.assertEqual(0, self.backoff.remaining_seconds('other', 1000))

    def test_a_guest_that_did_well_for_long_starts_anew(self) -> None:
        """For four times as long as it was skipped, after that."""
        self.backoff.add('uuid', 0)
        self.backoff.add('uuid', 600)
        self.assertEqual(1200, self.backoff.remaining_seconds('uuid', 600))
        self.backoff.add('uuid', 600 + 5 * 1200)
        self.assertEqual(600, self.backoff.remaining_seconds('uuid', 6600))
        self.backoff.add('uuid', 6600 + 5 * 600 - 1)
        self.assertEqual(
            1200, self.backoff.remaining_seconds('uuid', 6600 + 5 * 600 - 1)
        )

    def test_the_guest_longest_ago_makes_room(self) -> None:
        for number in range(backoff.MOST_GUESTS + 1):
            self.backoff.add(str(number), number / 1000)
        self.assertEqual(0, self.backoff.remaining_seconds('0', 1))
        for number in (1, backoff.MOST_GUESTS):
            self.assertGreater(
                self.backoff.remaining_seconds(str(number), 1), 0
            )

    def test_guests_that_are_gone_take_no_memory(self) -> None:
        for number in range(100):
            self.backoff.add(str(number), number * 10_000)
        self.assertEqual(1, len(self.backoff._guests))

    def test_each_time_doubles_the_time_up_to_a_day(self) -> None:
        seconds = []
        for _time in range(40):
            self.backoff.add('uuid', 1000)
            seconds.append(self.backoff.remaining_seconds('uuid', 1000))
        self.assertEqual([600, 1200, 2400, 4800], seconds[:4])
        self.assertEqual(24 * 3600, seconds[-1])
        self.assertEqual(sorted(seconds), seconds)

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

    def test_each_time_doubles_the_time_up_to_a_day(self) -> None:
        seconds = []
        for _time in range(40):
            self.backoff.add('uuid', 1000)
            seconds.append(self.backoff.remaining_seconds('uuid', 1000))
        self.assertEqual([600, 1200, 2400, 4800], seconds[:4])
        self.assertEqual(24 * 3600, seconds[-1])
        self.assertEqual(sorted(seconds), seconds)

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

"""Guests that needed their memory are left alone, each time for longer."""

from nova_freemem.plan import backoff as backoffs
from tests import base
from tests.simulation import fakes


class BackoffTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.backoff = backoffs.Backoff(self.clock)

    def test_a_guest_never_seen_is_not_left_alone(self) -> None:
        self.assertEqual(0, self.backoff.left_seconds('uuid'))

    def test_a_guest_is_left_alone_until_the_while_has_passed(self) -> None:
        self.backoff.note('uuid')
        self.assertEqual(600, self.backoff.left_seconds('uuid'))
        self.clock.wait(599)
        self.assertAlmostEqual(1, self.backoff.left_seconds('uuid'))
        self.clock.wait(1)
        self.assertEqual(0, self.backoff.left_seconds('uuid'))

    def test_others_are_not(self) -> None:
        self.backoff.note('uuid')
        self.assertEqual(0, self.backoff.left_seconds('other'))

    def test_each_time_doubles_the_while_up_to_a_day(self) -> None:
        whiles = []
        for _time in range(40):
            self.backoff.note('uuid')
            whiles.append(self.backoff.left_seconds('uuid'))
        self.assertEqual([600, 1200, 2400, 4800], whiles[:4])
        self.assertEqual(24 * 3600, whiles[-1])
        self.assertEqual(sorted(whiles), whiles)

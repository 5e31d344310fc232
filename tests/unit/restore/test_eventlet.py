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

"""Nova 31 to 33 run on eventlet: nothing may block its hub."""

from tests import base
from tests.unit import on_eventlet


class EventletTest(base.TestCase):
    def test_checking_slow_guests_blocks_nothing_else_and_ends(
        self,
    ) -> None:
        longest_seconds, looks_seconds, left_over = on_eventlet.told(
            self, 'tests.unit.restore.eventlet_story', 300
        )
        self.assertLess(float(longest_seconds), float(looks_seconds) / 2)
        self.assertEqual('False', left_over)

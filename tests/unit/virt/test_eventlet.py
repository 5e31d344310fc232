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

"""Nova 31 to 33 run on eventlet: its native threads are Nova's."""

from tests import base
from tests.unit import on_eventlet


class EventletTest(base.TestCase):
    def test_silent_agents_hinder_no_migration_and_no_end_of_nova(
        self,
    ) -> None:
        words = on_eventlet.told(self, 'tests.unit.virt.eventlet_story', 120)
        for seconds in map(float, words):
            self.assertLess(seconds, 5)
        self.assertEqual(2, len(words))

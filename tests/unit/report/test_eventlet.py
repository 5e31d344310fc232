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

"""Nova 31 to 33 run on eventlet: it is told, and the log shows, the same."""

from tests import base
from tests.unit import on_eventlet


class EventletTest(base.TestCase):
    def test_events_are_sent_in_order_while_nobody_waits(self) -> None:
        told_seconds, flushed_seconds, *rest = on_eventlet.told(
            self, 'tests.unit.report.eventlet_story', 300
        )
        self.assertLess(float(told_seconds), 0.5)
        self.assertLess(float(flushed_seconds), 0.5)
        self.assertEqual(['req-0,req-1,req-2', 'req-own', 'False'], rest)

    def test_each_thread_logs_with_novas_request_in_either_mode(self) -> None:
        for mode in ('threads', 'eventlet'):
            transfer, placement, event, notification, stuck, unreadable = (
                on_eventlet.told(
                    self, 'tests.unit.report.requests_story', 300, mode
                )
            )
            self.assertEqual('req-transfer', transfer, mode)
            self.assertEqual('req-placement', placement, mode)
            self.assertEqual('req-one,req-one,req-two,req-two', event, mode)
            self.assertEqual('req-one,req-two', notification, mode)
            # On a busy machine others may seem stuck as well.
            self.assertIn('req-stuck', stuck.split(','), mode)
            # The reconciler has found one of them by itself.
            self.assertEqual(
                ['-', 'req-landing', 'req-stuck'],
                sorted(unreadable.split(',')),
                mode,
            )

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

"""nova-compute starts on a host with 500 guests, 5 of which hang."""

import threading
from typing import Any

from nova_freemem.restore import reconciler
from nova_freemem.restore import schedule
from tests import base
from tests.simulation import scale
from tests.simulation.fake_clock import FakeClock
from tests.simulation.fake_clock import FakeThread

# A balloon deflates within 3 s; where nobody waits, that is seen by then.
RESTORE_SECONDS = schedule.NUDGE_INTERVAL_SECONDS + 0.5


class ManyGuestsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = FakeClock()
        self.threads: list[FakeThread] = []
        self.most_threads = 0
        self.patch_autospec(threading, 'Thread', side_effect=self.make_thread)
        self.host = scale.Host.make(self.clock)

    def alive(self) -> list[FakeThread]:
        return [thread for thread in self.threads if thread.is_alive()]

    def make_thread(self, **kwargs: Any) -> FakeThread:
        self.threads = [*self.alive(), self.clock.thread(**kwargs)]
        self.most_threads = max(self.most_threads, len(self.threads))
        return self.threads[-1]

    def test_those_that_hang_keep_the_others_for_ten_seconds(self) -> None:
        self.host.reconciler.start()
        self.clock.wait(reconciler.STUCK_SECONDS + RESTORE_SECONDS)
        self.assertTrue(scale.are_whole(self.host.answering))
        self.assertLessEqual(self.most_threads, 1 + scale.WORKERS + scale.HUNG)
        self.clock.wait(3600)
        self.host.answers.set()
        self.clock.wait(RESTORE_SECONDS)
        self.assertTrue(scale.are_whole(self.host.hung))
        self.assertEqual(1, len(self.alive()))

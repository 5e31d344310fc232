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

"""nova-compute stops while guests are being migrated."""

import contextlib
from unittest import mock

from nova_freemem.migrate import shutdown
from tests import base
from tests.simulation import fakes


class ShutdownTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.shutdown = shutdown.Shutdown(self.clock)
        self.step = mock.create_autospec(shutdown.Step, instance=True)
        self.step.is_settled.return_value = False

    def run_shutdown(self) -> float:
        """:returns: the seconds it took."""
        began_at = self.clock.now()
        self.shutdown.run()
        return self.clock.now() - began_at

    def test_with_nothing_under_way_it_takes_no_time(self) -> None:
        self.assertFalse(self.shutdown.has_begun)
        with self.shutdown.during(self.step):
            pass
        self.assertEqual(0, self.run_shutdown())
        self.assertTrue(self.shutdown.has_begun)
        self.step.shut_down.assert_not_called()

    def test_what_is_under_way_is_ended_and_waited_for(self) -> None:
        def migrate() -> None:
            with self.shutdown.during(self.step):
                self.clock.wait(3)

        self.clock.thread(migrate).start()
        self.clock.wait(1)
        self.assertAlmostEqual(
            2, self.run_shutdown(), delta=shutdown.POLL_SECONDS
        )
        self.step.shut_down.assert_called_once_with()
        self.assertEqual([], self.log_lines('WARNING'))

    def test_what_needs_nobody_is_not_waited_for(self) -> None:
        self.step.is_settled.return_value = True
        with self.shutdown.during(self.step):
            self.assertEqual(0, self.run_shutdown())

    def test_what_does_not_end_is_waited_for_no_longer_than_nova_waits(
        self,
    ) -> None:
        with self.shutdown.during(self.step):
            self.assertAlmostEqual(
                shutdown.WAIT_SECONDS,
                self.run_shutdown(),
                delta=2 * shutdown.POLL_SECONDS,
            )
        self.assertEqual(1, len(self.log_lines('WARNING')))

    def test_all_guests_are_waited_for_at_the_same_time(self) -> None:
        with contextlib.ExitStack() as under_way:
            for _guest in range(3):
                step = mock.create_autospec(shutdown.Step, instance=True)
                step.is_settled.return_value = False
                under_way.enter_context(self.shutdown.during(step))
            self.assertAlmostEqual(
                shutdown.WAIT_SECONDS,
                self.run_shutdown(),
                delta=2 * shutdown.POLL_SECONDS,
            )
        (line,) = self.log_lines('WARNING')
        self.assertIn('3 guests', line)

    def test_what_comes_too_late_is_ended_at_once(self) -> None:
        self.shutdown.run()
        with self.shutdown.during(self.step):
            self.step.shut_down.assert_called_once_with()

    def test_a_landing_is_left_as_it_is_and_waited_for(self) -> None:
        step = shutdown.Step()
        step.shut_down()
        self.assertFalse(step.is_settled())

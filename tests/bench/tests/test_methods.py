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

"""What the benchmark keeps of what the plugin tells."""

from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from tests import base
from tests.bench import methods


class ReportedTest(base.TestCase):
    def test_a_run_shows_why_its_guest_was_skipped(self) -> None:
        lines: list[str] = []
        with methods.reported_to(lines):
            methods.Reporter().skipped(Skip(Reason.NOTHING_FREE, 'figures'))
        self.assertEqual(1, len(lines), lines)
        self.assertIn('figures', lines[0])

    def test_a_run_does_not_show_what_is_reported_of_another(self) -> None:
        lines: list[str] = []
        with methods.reported_to(lines):
            pass
        methods.Reporter().skipped(Skip(Reason.NOTHING_FREE, 'figures'))
        self.assertEqual([], lines)

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

"""The model, compared with what was measured.

Neither changes by itself, so that the bounds leave room for nothing but
rounding: a change of the plugin or of the model that exceeds them has made
the simulation differ from the measured runs.
``python -m tests.bench.fit`` fits the model anew.
"""

import pathlib
import statistics

from tests import base
from tests.bench import capture
from tests.bench import fit
from tests.bench import fitting
from tests.simulation.model import Model

ROOT = pathlib.Path(__file__).parents[3]
MEASURED = capture.from_json(
    (ROOT / 'tests/simulation/measured.json').read_text()
)
MANUAL = ROOT / 'doc/source/contributor/simulation-error.inc'

# Shares; the manual says why they are not less.
WORST_SECONDS_ERROR, MEDIAN_SECONDS_ERROR = 0.3, 0.06
WORST_MEGABYTES_ERROR, MEDIAN_MEGABYTES_ERROR = 0.2, 0.01


class MeasuredTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.held = fitting.hold(MEASURED.cases, Model())

    def test_a_simulated_migration_takes_as_long_as_a_measured_one(
        self,
    ) -> None:
        errors = [abs(one.seconds_error) for one in self.held]
        self.assertLess(max(errors), WORST_SECONDS_ERROR)
        self.assertLess(statistics.median(errors), MEDIAN_SECONDS_ERROR)

    def test_it_sends_about_as_much(self) -> None:
        errors = [abs(one.megabytes_error) for one in self.held]
        self.assertLess(max(errors), WORST_MEGABYTES_ERROR)
        self.assertLess(statistics.median(errors), MEDIAN_MEGABYTES_ERROR)

    def test_the_plugin_wins_where_it_does(self) -> None:
        seconds = {
            (one.case.situation, one.case.method): one for one in self.held
        }
        for (situation, method), one in seconds.items():
            if one.case.back_seconds is None:
                continue  # Nothing was released: what differs is chance.
            plain = seconds[situation, 'plain']
            self.assertEqual(
                one.case.seconds.median < 0.9 * plain.case.seconds.median,
                one.replay.seconds < 0.9 * plain.replay.seconds,
                f'{one.case.guest}, {method}',
            )

    def test_the_model_has_the_figures_that_were_fitted(self) -> None:
        self.assertEqual(MEASURED.model, Model())
        self.assertEqual(set(fitting.BOUNDS), set(MEASURED.fitted))

    def test_the_manual_shows_what_is_simulated_now(self) -> None:
        self.assertEqual(
            fit.for_manual(MEASURED, self.held), MANUAL.read_text()
        )

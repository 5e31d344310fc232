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

"""An operator asks nova-compute for a Guru Meditation Report."""

from nova import version
import nova.conf
from oslo_reports import guru_meditation_report
from oslo_reports.generators import threading as threading_generators

from nova_freemem.report import guru_meditation
from tests import base


class GuruMeditationTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        # As nova-compute has done by then.
        nova.conf.CONF([], default_config_files=[], default_config_dirs=[])
        self.patch(
            guru_meditation_report.TextGuruMeditation,
            'persistent_sections',
            [],
        )
        # Other tests leave thousands of green threads, and the report shows
        # the stack of each.
        self.patch_autospec(
            threading_generators, '_find_objects', return_value=[]
        )

    def section(self, figures: object) -> list[str]:
        """:returns: the lines of our section of a whole report."""
        guru_meditation.register(figures)
        report = guru_meditation_report.TextGuruMeditation(version).run()
        _, _, ours = report.partition(guru_meditation.TITLE)
        return [line.strip() for line in ours.splitlines() if line.strip('= ')]

    def test_the_report_has_our_figures_under_their_headings(self) -> None:
        lines = self.section(
            lambda: {'guests': {'b': 'two', 'a': 1}, 'nothing': {}}
        )
        self.assertEqual(
            ['guests =', 'a = 1', 'b = two', 'nothing = none'], lines[-4:]
        )

    def test_an_error_of_ours_leaves_the_rest_of_the_report(self) -> None:
        lines = self.section(lambda: {}['oops'])
        self.assertEqual("error = KeyError('oops')", lines[-1])

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

"""What the manual says of other networks is what the plugin does there."""

import pathlib

from tests import base
from tests.simulation import bandwidths

_MANUAL = pathlib.Path(__file__).parents[2] / 'doc/source/admin'


class BandwidthsTest(base.TestCase):
    def test_the_table_of_the_manual_is_that_of_today(self) -> None:
        documented = (_MANUAL / 'bandwidths.inc').read_text()
        self.assertEqual(documented, bandwidths.table(bandwidths.simulate()))

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

"""What is shown of a drain."""

from tests import base
from tests.lab import drain


class RowTest(base.TestCase):
    def test_it_shows_what_migrations_were_expected_to_get(self) -> None:
        for expected_mbps, shown in (
            ((1000, 474, 1282), '474 to 1282'),
            ((), ''),
        ):
            one = drain.Drain(3, True, 78.9, 3_226_000_000, expected_mbps, ())
            self.assertEqual(
                {
                    'at a time': '3',
                    'plugin': 'with',
                    'seconds': '79',
                    'sent (MB)': '3,226',
                    'expected (Mbit/s)': shown,
                },
                one.row,
            )

    def test_it_is_read_off_what_was_logged(self) -> None:
        line = (
            'expected to save 522 MiB and 4.1 of 7.3 s at 487 Mbit/s '
            '(measured in the last migrations there; shared by 2 migrations).'
        )
        self.assertEqual(['487'], drain._EXPECTED.findall(line))

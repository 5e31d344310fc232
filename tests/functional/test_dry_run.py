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

"""An operator tries before trusting."""

from typing import ClassVar

from tests.functional import base
from tests.functional import test_migration

DRY_RUN = 'compute_freemem_dry_run'


class DryRunTestCase(test_migration.WatchedTransferTestCase):
    def assert_dry(self) -> None:
        """The guest kept all its memory, and the log says what for."""
        self.assertEqual(base.MEMORY_KIB, self.balloon_in_transfer_kib)
        self.assertEqual([], self.entries_in_transfer)
        self.assert_whole(self.destination)
        events = self.events()
        self.assertEqual('Success', events[DRY_RUN])
        self.assertNotIn(test_migration.RELEASE, events)
        self.assertNotIn(test_migration.RESTORE, events)
        (line,) = [
            line for line in self.log_lines('INFO') if 'would be' in line
        ]
        self.assertRegex(
            line,
            r'Dry run: \d{4} of 4096 MiB would be released ahead of '
            r'the transfer; expected to save \d+ MiB and \d+\.\d of \d+\.\d s',
        )


class HostThatMakesDryRuns(DryRunTestCase):
    CONFIGURATION = base.ENABLED + 'dry_run = true\n'
    EXTRA_SPECS: ClassVar[dict[str, str]] = {'freemem:dry_run': 'false'}

    def test_nothing_is_released(self) -> None:
        self.migrate()
        self.assert_dry()

    def test_once_it_releases_memory_is_released(self) -> None:
        self.reload(base.ENABLED)
        self.migrate()
        self.assertIn(test_migration.RELEASE, self.events())
        self.assertNotIn(DRY_RUN, self.events())
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB)


class FlavorThatAsksForADryRun(DryRunTestCase):
    EXTRA_SPECS: ClassVar[dict[str, str]] = {'freemem:dry_run': 'true'}

    def test_nothing_is_released(self) -> None:
        self.migrate()
        self.assert_dry()

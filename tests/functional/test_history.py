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

"""What a host's migrations have saved is kept for ``nova-freemem report``."""

from nova_freemem import history as histories
from nova_freemem.history import Kind
from tests.functional import base


class HostThatRemembers(base.LiveMigrationTestCase):
    def test_a_release_and_its_restore_are_remembered(self) -> None:
        self.migrate()
        # Both hosts write to it here, the source once Nova has ended its own
        # steps there, which it calls a completed migration before.
        self.wait_for(2, lambda: len(histories.read(self.state_path)[0]))
        records, unreadable = histories.read(self.state_path)
        release, restore = sorted(records, key=lambda one: one.kind.value)
        self.assertEqual(0, unreadable)
        self.assertEqual(
            (Kind.RELEASE, Kind.RESTORE), (release.kind, restore.kind)
        )
        self.assertGreater(release.not_sent_kib, 0)
        self.assertGreater(release.seconds, 0)
        self.assertTrue(release.complete)
        self.assertTrue(restore.complete)
        self.assertEqual(self.server['id'], release.server)

    def test_a_skip_is_remembered(self) -> None:
        self.guest.touched_kib = 0
        self.migrate()
        (skip,), _ = histories.read(self.state_path)
        self.assertEqual('not_worthwhile', skip.reason)

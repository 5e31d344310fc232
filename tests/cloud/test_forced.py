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

"""The operator forces a migration to complete while memory is released."""

from tests.cloud import base

_POST_COPY = """\
[libvirt]
live_migration_permit_post_copy = true
[freemem]
mode = before
"""

# What is left takes longer than it takes to force it.
_SLOW_MBIT = 200


class MigrationForcedIntoPostCopy(base.CloudTestCase):
    """Nova may switch to post-copy, and the guest has 1.1 GiB to release."""

    lines = _POST_COPY

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_used(memory_mib=1536, freed_mib=1100)
        self.before = self.question(self.server)

    def test_the_transfer_is_forced_and_the_guest_whole(self) -> None:
        self.set_link(_SLOW_MBIT)
        started = self.cloud.begin_migration(self.server)
        self.wait_until(
            'outstanding memory', lambda: self.entry(self.server) is not None
        )
        self.cloud.force_migration(self.server)
        migration = self.cloud.finish_migration(self.server, started)

        self.assertEqual('completed', migration.status)
        self.assert_whole(self.server, self.before)
        log = '\n'.join(self.log_of(self.source, self.server))
        released, restored, switched = (
            log.find('(the migration was forced to complete)'),
            log.find(
                'All 1536 MiB of the guest are restored during the '
                'transfer: post-copy begins'
            ),
            log.find('Switching to post-copy migration mode'),
        )
        self.assertTrue(0 < released < restored < switched, log)

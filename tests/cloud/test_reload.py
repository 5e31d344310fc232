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

"""Options that an operator changes without restarting nova-compute."""

from tests.cloud import base
from tests.lab import layout


class Reload(base.CloudTestCase):
    """The source's nova-compute runs on eventlet, and releases no memory."""

    lines = base.RELEASES_NOTHING

    def setUp(self) -> None:
        super().setUp()
        self.leaving = self.compute(self.source)
        self.addCleanup(self.leaving.stop)
        self.addCleanup(self.leaving.environment.clear)
        self.leaving.stop()
        self.leaving.environment['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'false'
        self.leaving.start(self.cloud.api)

    def log(self) -> str:
        """Read what the source's nova-compute has logged."""
        log = layout.LAB.log / f'{self.source.name}-nova-compute.log'
        return log.read_text(errors='replace')

    def test_memory_is_released_after_sighup(self) -> None:
        server = self.boot_used(memory_mib=768, freed_mib=400)
        before = self.question(server)
        pid = self.leaving.daemon.pid
        logged = len(self.log())
        self.leaving.reload(base.DROP_IN, '[freemem]\nenabled = true\n')
        self.wait_until(
            'the changed options',
            lambda: 'options: enabled: False -> True.' in self.log()[logged:],
        )
        migration = self.cloud.migrate(server)
        self.assertEqual('completed', migration.status)
        names = [one.name for one in self.cloud.events(server)]
        self.assertIn('compute_freemem_release', names)
        self.assertEqual(pid, self.leaving.daemon.pid)
        self.assert_whole(server, before)

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

_FILE = 'reload'


class Reload(base.CloudTestCase):
    """The source's nova-compute runs on eventlet, and releases no memory."""

    def setUp(self) -> None:
        super().setUp()
        self.compute = next(
            one
            for one in self.cloud.computes
            if one.host.name == self.source.name
        )
        self.addCleanup(self.cloud.plugin, True)
        self.addCleanup(self.compute.set_lines, _FILE, '')
        self.addCleanup(self.compute.environment.clear)
        self.compute.stop()
        self.compute.set_lines(_FILE, '[freemem]\nenabled = false\n')
        self.compute.environment['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'false'
        self.cloud.plugin(True)

    def log(self) -> str:
        """Read what the source's nova-compute has logged."""
        log = layout.LAB.log / f'{self.source.name}-nova-compute.log'
        return log.read_text(errors='replace')

    def test_memory_is_released_after_sighup(self) -> None:
        server = self.boot_used(memory_mib=768, freed_mib=400)
        before = self.question(server)
        pid = self.compute.daemon.pid
        logged = len(self.log())
        self.compute.reload(_FILE, '[freemem]\nenabled = true\n')
        self.wait_until(
            'the changed options',
            lambda: 'options: enabled: False -> True.' in self.log()[logged:],
        )
        migration = self.cloud.migrate(server)
        self.assertEqual('completed', migration.status)
        names = [one.name for one in self.cloud.events(server)]
        self.assertIn('compute_freemem_release', names)
        self.assertEqual(pid, self.compute.daemon.pid)
        self.assert_whole(server, before)

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

"""nova-compute reads its options in many places, and so does the plugin."""

import pathlib
import tempfile

from tests.cloud import base
from tests.lab import compute
from tests.lab import host as lab_host
from tests.lab import layout
from tests.lab import servers

_DRIVER = '[oslo_messaging_notifications]\ndriver = freemem\n'


def _enabled(value: str) -> str:
    return f'[freemem]\nenabled = {value}\n'


# Of the source, then of the destination: four directories after the lab's
# own, which makes five, and the file after them.
_SOURCE = (
    ('', _DRIVER + _enabled('true'), '', _enabled('false')),
    _enabled('true'),
)
_DESTINATION = (
    ('', _enabled('false'), _DRIVER, _enabled('true')),
    _enabled('false'),
)


class FiveDirectoriesAndAFileAfterThem(base.CloudTestCase):
    """By the last file, the source releases memory and the destination not.

    By any of the directories alone it would be another way.
    """

    plugins = (False, False)

    def start_computes(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for one in self.cloud.computes:
            one.stop()
            self.addCleanup(one.stop)
            self.addCleanup(one.arguments.clear)
            content = (
                _SOURCE if one.host.name == self.source.name else _DESTINATION
            )
            self._write(one, pathlib.Path(folder.name), *content)
        super().start_computes()

    def _write(
        self,
        one: compute.Compute,
        folder: pathlib.Path,
        directories: tuple[str, ...],
        last: str,
    ) -> None:
        """Write the files, and name them on the next command line."""
        for number, lines in enumerate(directories):
            directory = folder / f'{one.host.name}-{number}.conf.d'
            directory.mkdir()
            (directory / 'freemem.conf').write_text(lines)
            one.arguments += ['--config-dir', str(directory)]
        file = folder / f'{one.host.name}.conf'
        file.write_text(last)
        one.arguments += ['--config-file', str(file)]

    def test_the_plugin_follows_the_one_that_nova_follows(self) -> None:
        server = self.boot_used(memory_mib=512, freed_mib=260)
        before = self.question(server)
        self.cloud.migrate(server, to=self.destination.name)
        self.assert_whole(server, before)
        self.assertIn('compute_freemem_release', self._events(server))
        self.cloud.migrate(server, to=self.source.name)
        self.assert_whole(server, before)
        self.assertIn(
            'compute_freemem_skip_disabled_by_host', self._events(server)
        )
        for host, line in (
            (self.source, 'nova_freemem is enabled'),
            (self.destination, 'nova_freemem is loaded but not enabled'),
        ):
            self.assertIn(line, self._log(host))

    def _events(self, server: servers.Server) -> list[str]:
        return [one.name for one in self.cloud.events(server)]

    def _log(self, host: lab_host.Host) -> str:
        """Read what a host's nova-compute has logged since its last start."""
        log = layout.LAB.log / f'{host.name}-nova-compute.log'
        lines = log.read_text(errors='replace')
        return lines[lines.rindex(' Starting compute node') :]

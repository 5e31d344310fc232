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

"""A host on which DevStack's programs are walked through with the plugin."""

from __future__ import annotations

import configparser
from dataclasses import dataclass
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from typing import Any
from typing import ClassVar

HERE = pathlib.Path(__file__).parent
REPOSITORY = HERE.parents[1]
UNIT = 'etc/systemd/system/devstack@n-cpu.service'
DROP_IN = 'etc/nova/nova-compute.conf.d/freemem.conf'


@dataclass
class LocalConf:
    """What matters here of a ``local.conf``."""

    services: str = 'n-sch,n-cpu'
    virt_driver: str = 'libvirt'
    plugin: str = 'nova-freemem'
    enabled: str | None = None
    sections: str = ''

    def text(self, settings: str) -> str:
        """Return the file.

        :param settings: more settings of its section ``localrc``
        """
        enabled = (
            ''
            if self.enabled is None
            else f'NOVA_FREEMEM_ENABLED={self.enabled}\n'
        )
        return (
            '[[local|localrc]]\n'
            f'{settings}'
            f'ENABLED_SERVICES={self.services}\n'
            f'VIRT_DRIVER={self.virt_driver}\n'
            f'{enabled}'
            f'enable_plugin {self.plugin} https://example.org/freemem\n'
            f'{self.sections}'
        )


@dataclass
class Read:
    """What a service reads of its configuration."""

    drivers: list[str]
    freemem: dict[str, Any]


class Host:
    """A host with stand-ins for DevStack's functions.

    Everything stands below one folder. oslo.config looks into ``~/.nova``
    before it looks into ``/etc/nova``; here the one is a link to what stands
    for the other.
    """

    TREE = HERE / 'devstack' / 'stand_ins.sh'
    PREFIX: ClassVar[list[str]] = []

    def __init__(self, root: pathlib.Path, repository: pathlib.Path) -> None:
        """Initialize the host.

        :param root: an empty folder
        :param repository: where DevStack clones the plugin from
        """
        self.root = root
        self.source = root / 'source'
        shutil.copytree(repository / 'devstack', self.source / 'devstack')
        shutil.copy(repository / 'setup.cfg', self.source)
        self.conf_dir = root / 'etc' / 'nova'
        self._place()
        # Were it missing, that of a Nova on this machine would be read.
        (self.conf_dir / 'nova.conf.d').mkdir(parents=True)

    def _place(self) -> None:
        """Put DevStack in its place, and what stands for /etc."""
        (self.root / 'devstack').mkdir()
        (self.root / 'home').mkdir()
        (self.root / 'home' / '.nova').symlink_to(self.conf_dir)

    def _settings(self) -> str:
        """Return what the section ``localrc`` needs besides."""
        return ''

    def run(self, *command: str) -> str:
        """Run a command on this host.

        :raises: :class:`AssertionError` with all its output if it fails
        :returns: its standard output
        """
        environment = {
            'PATH': os.environ['PATH'],
            'HOME': str(self.root / 'home'),
            'ROOT': str(self.root),
            'SOURCE': str(self.source),
            'TREE': str(self.TREE),
            'PYTHONPATH': str(REPOSITORY),
        }
        done = subprocess.run(
            [*self.PREFIX, *command],
            env=environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(
                f'{shlex.join(command)}: {done.returncode}\n'
                f'{done.stdout}{done.stderr}'
            )
        return done.stdout

    def walk(self, program: str, local_conf: LocalConf) -> str:
        """Walk through ``stack``, ``unstack`` or ``clean``.

        :returns: what was printed
        """
        (self.root / 'devstack' / 'local.conf').write_text(
            local_conf.text(self._settings())
        )
        return self.run('bash', str(HERE / 'devstack' / 'walk.sh'), program)

    def installed(self) -> list[str]:
        """:returns: what pip was called with, a line for each time"""
        file = self.root / 'pip'
        return file.read_text().splitlines() if file.exists() else []

    def drop_in(self) -> str | None:
        """:returns: what the plugin wrote for nova-compute, None: no file"""
        file = self.root / DROP_IN
        return file.read_text() if file.exists() else None

    def leftovers(self) -> list[str]:
        """:returns: files and folders beside those that DevStack wrote"""
        devstack = {
            'nova.conf',
            'nova.conf.d',
            'nova-cpu.conf',
            'nova-fake.conf-1',
        }
        there = {path.name for path in self.conf_dir.iterdir()}
        return sorted(there - devstack)

    def nova_compute(self) -> list[str]:
        """:returns: the command line that DevStack starts it with"""
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str
        unit.read(self.root / UNIT)
        return shlex.split(unit['Service']['ExecStart'])

    def tempest(self) -> dict[str, Any] | None:
        """:returns: what our tests read in tempest.conf, None: no file"""
        file = self.root / 'stack' / 'tempest' / 'etc' / 'tempest.conf'
        if not file.exists():
            return None
        reader = str(HERE / 'read_tempest.py')
        read: dict[str, Any] = json.loads(
            self.run(sys.executable, reader, str(file))
        )
        return read

    def started(self) -> bool:
        """:returns: whether DevStack started nova-compute"""
        return (self.root / UNIT).exists()

    def read(self, *command_line: str) -> Read:
        """:returns: what a program reads when it is started like that"""
        reader = str(HERE / 'read_configuration.py')
        return Read(
            **json.loads(self.run(sys.executable, reader, *command_line))
        )

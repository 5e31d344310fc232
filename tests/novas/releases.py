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

"""How nova-compute can run in a release, and where the release is."""

import dataclasses
import enum
import pathlib
import subprocess


class Mode(enum.Enum):
    """What nova-compute runs on."""

    EVENTLET = 'eventlet'
    THREADS = 'threads'

    @property
    def variables(self) -> dict[str, str]:
        """What Nova has to find in the environment of the process."""
        threads = self is Mode.THREADS
        return {'OS_NOVA_DISABLE_EVENTLET_PATCHING': str(threads).lower()}


def modes(release: int) -> list[Mode]:
    """Return how Nova's functional fixtures can run, the default first.

    nova-compute can run on threads in Nova 33 already. The fixtures' database
    cannot: all threads share its one connection.

    :param release: Nova's, as 31
    """
    if release < 34:
        return [Mode.EVENTLET]
    return [Mode.THREADS, Mode.EVENTLET]


@dataclasses.dataclass(frozen=True)
class Environment:
    """A release of Nova that is installed.

    :ivar release: as 31
    :ivar venv: the virtual environment that it is in
    """

    release: int
    venv: pathlib.Path

    @classmethod
    def parse(cls, word: str) -> 'Environment':
        """Read what the command has been given.

        :param word: release and path, as ``31=/path``
        """
        release, _, path = word.partition('=')
        return cls(int(release), pathlib.Path(path))

    def version(self) -> str:
        """Ask for the version of Nova, as 31.3.1."""
        return subprocess.run(
            [
                self.venv / 'bin/python',
                '-c',
                'from importlib import metadata; '
                'print(metadata.version("nova"))',
            ],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()

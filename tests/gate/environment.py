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

"""The environments of what runs beside the tests: Zuul, Ansible, tempest."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess

REPOSITORY = pathlib.Path(__file__).parents[2]


@functools.cache
def programs(name: str) -> pathlib.Path:
    """Return the folder of its programs, made where it is not there yet.

    :param name: of the environment, as ``tools/install.sh`` has it
    """
    made = subprocess.run(
        [REPOSITORY / 'tools' / 'install.sh', name],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return pathlib.Path(made.stdout.splitlines()[-1]) / 'bin'


def run(
    *command: str | pathlib.Path,
    folder: pathlib.Path,
    name: str = 'gate',
    stderr: int = subprocess.STDOUT,
) -> subprocess.CompletedProcess[str]:
    """Run one of its programs.

    :param command: the name of the program, and its arguments
    :param folder: where to run it; what it writes for itself stays there
    :param name: of the environment
    :param stderr: what becomes of its standard error
    :returns: how it ended, with all its output
    """
    environment = {
        **os.environ,
        'HOME': str(folder),
        'NO_COLOR': '1',
        'PATH': f'{programs(name)}{os.pathsep}{os.environ["PATH"]}',
    }
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )

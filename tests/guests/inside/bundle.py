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

"""Have a container run a command with a limit of memory.

``bundle.py FOLDER MIB WORD...``, in the guest: FOLDER is what a container
runtime is given to run. The container has the guest's programs and files, and
processes of its own.
"""

import json
import os
import sys
from typing import Any

_FOLDERS = ('run', 'srv', 'usr')
_LINKS = ('bin', 'lib', 'lib64')


def configuration(mib: int, words: tuple[str, ...]) -> dict[str, Any]:
    """Write what the container is, as the Open Container Initiative has it.

    :param mib: the limit of its memory.
    :param words: the command that it runs.
    """
    return {
        'ociVersion': '1.0.2',
        'process': {
            'user': {'uid': 0, 'gid': 0},
            'args': words,
            'env': ['PATH=/usr/bin'],
            'cwd': '/',
        },
        'root': {'path': 'rootfs'},
        'mounts': [
            {'destination': '/proc', 'type': 'proc', 'source': 'proc'},
            {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs'},
            *(
                {
                    'destination': f'/{one}',
                    'type': 'bind',
                    'source': f'/{one}',
                    'options': ['bind'],
                }
                for one in _FOLDERS
            ),
        ],
        'linux': {
            'namespaces': [{'type': one} for one in ('pid', 'mount')],
            'resources': {'memory': {'limit': mib << 20}},
        },
    }


def main(folder: str, mib: str, *words: str) -> None:
    """Write the folder."""
    for name in _FOLDERS:
        os.makedirs(f'{folder}/rootfs/{name}')
    for name in _LINKS:
        os.symlink(f'usr/{name}', f'{folder}/rootfs/{name}')
    with open(f'{folder}/config.json', 'w') as file:
        json.dump(configuration(int(mib), words), file)


if __name__ == '__main__':
    main(*sys.argv[1:])

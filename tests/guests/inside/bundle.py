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
import subprocess
import sys

_FOLDERS = ('run', 'srv', 'usr')
_LINKS = ('bin', 'lib', 'lib64')


def main(folder: str, mib: str, *words: str) -> None:
    """Write the folder."""
    root = f'{folder}/rootfs'
    for name in _FOLDERS:
        os.makedirs(f'{root}/{name}')
    for name in _LINKS:
        os.symlink(f'usr/{name}', f'{root}/{name}')
    subprocess.run(['crun', 'spec'], cwd=folder, check=True)
    with open(f'{folder}/config.json') as file:
        config = json.load(file)
    config['process'] |= {'terminal': False, 'args': words}
    config['linux']['resources']['memory'] = {'limit': int(mib) << 20}
    config['mounts'] += [
        {'destination': f'/{name}', 'source': f'/{name}', 'options': ['bind']}
        for name in _FOLDERS
    ]
    with open(f'{folder}/config.json', 'w') as file:
        json.dump(config, file)


if __name__ == '__main__':
    main(*sys.argv[1:])

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

"""DevStack's plugin in a real DevStack tree: see ``tools/devstack.sh``.

The name keeps it from those who look for tests: it needs a tree, and root.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from typing import ClassVar
import unittest

from tests.gate import contract
from tests.gate import walk

DEVSTACK = pathlib.Path(os.environ['DEVSTACK'])


class TreeHost(walk.Host):
    """A host with DevStack's own functions.

    Its commands run with a copy of ``/etc`` in the place of ``/etc``, in a
    mount namespace of their own.
    """

    TREE = walk.HERE / 'devstack' / 'tree.sh'
    PREFIX: ClassVar[list[str]] = [
        'unshare',
        '--mount',
        '--propagation=private',
        str(walk.HERE / 'devstack' / 'enter.sh'),
    ]

    def _place(self) -> None:
        shutil.copytree(
            DEVSTACK,
            self.root / 'devstack',
            symlinks=True,
            ignore=shutil.ignore_patterns('.git', 'local.conf', 'localrc'),
        )
        subprocess.run(
            ['cp', '--archive', '/etc', str(self.root / 'etc')], check=True
        )
        shutil.rmtree(self.conf_dir, ignore_errors=True)
        (self.root / 'home').mkdir()

    def _settings(self) -> str:
        stack = self.root / 'stack'
        return (
            f'DEST={stack}\n'
            f'DATA_DIR={stack}/data\n'
            f'SERVICE_DIR={stack}/status\n'
            'STACK_USER=root\n'
            'HOST_IP=192.0.2.1\n'
            'SERVICE_HOST=192.0.2.1\n'
            'RABBIT_HOST=192.0.2.1\n'
            'ADMIN_PASSWORD=secret\n'
            'DATABASE_PASSWORD=secret\n'
            'RABBIT_PASSWORD=secret\n'
            'SERVICE_PASSWORD=secret\n'
            'LIBVIRT_TYPE=qemu\n'
        )


class TreeTest(contract.Contract):
    """The contract on a real DevStack tree."""

    HOST = TreeHost


if __name__ == '__main__':
    loader = unittest.defaultTestLoader
    result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(
        loader.loadTestsFromTestCase(TreeTest)
    )
    sys.exit(not result.wasSuccessful())

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

"""Have Zuul's own parser read files of its configuration.

Run by the Python of the environment that has Zuul, with the folder zuul.d.
What other repositories define, the parents of the jobs among it, is not
looked up: Zuul itself does that, where it has these repositories.
"""

from __future__ import annotations

import pathlib
import sys
import types

from zuul import configloader
from zuul import model


def errors(file: pathlib.Path) -> list[str]:
    """Read one file as Zuul's scheduler does.

    :param file: the file
    :returns: what Zuul says of it
    """
    project = 'nova-freemem'
    source = model.SourceContext(
        f'example.org/{project}', project, 'example', 'master', str(file)
    )
    context = configloader.ParseContext(
        types.SimpleNamespace(connections={}), None, None, None
    )
    # The one method takes nothing of a tenant.
    tenant = configloader.TenantParser.__new__(configloader.TenantParser)
    parsed = tenant.loadProjectYAML(file.read_text(), source, context)
    found = [
        error
        for name, listed in vars(parsed).items()
        if name.endswith('_errors')
        for error in listed
    ]
    return [error.error for error in [*context.error_list, *found]]


def main(folder: str) -> int:
    """Print what is wrong.

    :param folder: the folder of the files
    :returns: the exit code
    """
    files = sorted(pathlib.Path(folder).iterdir())
    found = [error for file in files for error in errors(file)]
    print(*found, f'{len(files)} files, {len(found)} errors', sep='\n')
    return 1 if found or not files else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))

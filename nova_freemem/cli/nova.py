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

"""The Nova of this host's Python environment, compared with what we need."""

from __future__ import annotations

from importlib import metadata
import subprocess
import sys

from nova_freemem import exceptions

# A machine under load takes half a minute to import Nova.
_TIMEOUT_SECONDS = 120


def version() -> str | None:
    """Return the version of Nova, None where there is none."""
    try:
        return metadata.version('nova')
    except metadata.PackageNotFoundError:
        return None


def difference() -> str | None:
    """Return in what this Nova differs from what the plugin relies on.

    Nova is imported by a process of its own: it writes to standard error,
    and can make the process run on eventlet.

    :returns: None where it is as it is needed
    """
    try:
        ended = subprocess.run(
            [sys.executable, '-P', '-m', __name__],
            capture_output=True,
            check=False,
            text=True,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f'it could not be compared: {error}'
    if not ended.returncode:
        return None
    lines = (ended.stderr + ended.stdout).splitlines()
    return lines[-1] if lines else 'it ended the process that looked at it'


def main() -> int:
    """Compare, print the difference, and return 1 if there is one."""
    try:
        from nova_freemem import driver
        from nova_freemem import loader

        loader.check_nova(driver.FreememLibvirtDriver)
    except exceptions.NovaDiffers as error:
        print(error)
        return 1
    except Exception as error:  # whatever an import of Nova ends in
        print(f'it cannot be loaded: {error!r}')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())

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

"""Debian's packages the guest is made of: unpacked, never installed."""

import pathlib
import re
import subprocess

from tests.lab import layout

_KERNEL_PACKAGE = 'linux-image-cloud-amd64'
_AGENT_PACKAGE = 'qemu-guest-agent'
_SHELL_PACKAGE = 'busybox-static'


def unpack(root: pathlib.Path) -> pathlib.Path:
    """Unpack the packages the guest is made of.

    They are downloaded once, the newest that apt knows of, and kept.

    :param root: the folder to unpack to.
    :returns: the same.
    :raises RuntimeError: a package cannot be downloaded.
    """
    store = layout.LAB.cache / 'guest-packages'
    store.mkdir(exist_ok=True)
    packages = [_kernel_package(), _SHELL_PACKAGE, *_agent_packages()]
    missing = [p for p in packages if not list(store.glob(f'{p}_*.deb'))]
    if missing:
        _download(missing, store)
    for package in packages:
        archive = max(store.glob(f'{package}_*.deb'), key=_modified)
        run('dpkg-deb', '--extract', str(archive), str(root))
    return root


def _download(packages: list[str], store: pathlib.Path) -> None:
    # As another user, apt could not write to the folder.
    command = ['apt-get', '--option', 'APT::Sandbox::User=root', 'download']
    try:
        run(*command, *packages, cwd=store)
    except RuntimeError:  # Most likely, apt's lists are outdated.
        run('apt-get', 'update')
        run(*command, *packages, cwd=store)


def _modified(path: pathlib.Path) -> float:
    return path.stat().st_mtime


def _dependencies(package: str) -> dict[str, list[str]]:
    """Ask apt for a package's dependencies, and theirs."""
    hidden = 'recommends suggests conflicts breaks replaces enhances'
    options = [f'--no-{kind}' for kind in hidden.split()]
    shown = run('apt-cache', 'depends', '--recurse', *options, package)
    found: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if not line.startswith((' ', '<')):
            needs = found.setdefault(line.strip(), [])
        elif match := re.match(r' [ |](?:Pre)?Depends: ([^<]\S*)', line):
            needs.append(match[1])
    return found


def _kernel_package() -> str:
    """Find the kernel that the package without a version depends on."""
    needs = _dependencies(_KERNEL_PACKAGE)[_KERNEL_PACKAGE]
    return next(name for name in needs if name.startswith('linux-image-'))


def _agent_packages() -> list[str]:
    """List the guest agent's package and those of its libraries."""
    dependencies = _dependencies(_AGENT_PACKAGE)
    found = [_AGENT_PACKAGE]
    for package in found:
        found += [
            needed
            for needed in dict.fromkeys(dependencies.get(package, []))
            if needed.startswith('lib') and needed not in found
        ]
    return found


def run(*argv: str, cwd: pathlib.Path | None = None) -> str:
    """Run a command.

    :returns: what it wrote.
    :raises RuntimeError: it failed; its standard error.
    """
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{" ".join(argv)}: {done.stderr.strip()}')
    return done.stdout

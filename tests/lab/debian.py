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

"""The other guest: a whole Debian with systemd, and what runs in it.

It is installed from Debian's packages by ``mmdebstrap``, once for each suite
and set of packages, and cached.
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import tempfile

from tests.lab import arguments
from tests.lab import guest_image
from tests.lab import layout
from tests.lab import packages
from tests.lab import steps

#: As of the small guest; this one's init is systemd, on a disk.
COMMAND_LINE = f'{guest_image.COMMAND_LINE} root=/dev/vda rw'

_PACKAGES = (
    'dbus',
    'initramfs-tools',
    'kmod',
    'linux-image-cloud-amd64',
    'numactl',
    'procps',
    'psmisc',
    'qemu-guest-agent',
    'systemd-sysv',
    'udev',
)

# What nothing in the lab reads, and a disk of each guest would hold.
_LEFT_OUT = ('doc', 'info', 'locale', 'man')
# A package whose commands have alternatives, as Java, cannot be installed
# without the folder of their pages, which update-alternatives links to.
_PAGES = 'usr/share/man/man1'

# With its last line the guest is ready, as the small one is. Why the other
# processors wait is said with the small guest's command line.
_READY_UNIT = f"""\
[Unit]
Description=The other processors, and a word on the console
After=basic.target
Before=qemu-guest-agent.service

[Service]
Type=oneshot
ExecStart=/usr/bin/udevadm settle
ExecStart=/bin/sh -c '\\
    for processor in /sys/devices/system/cpu/cpu[1-9]*; do \\
        echo 1 > $$processor/online; \\
    done; \\
    echo "{guest_image.READY}" > /dev/console'

[Install]
WantedBy=multi-user.target
"""
_READY = 'freemem-ready.service'

# They would use the guest's memory at times of their own.
_MASKED = (
    'apt-daily.timer',
    'apt-daily-upgrade.timer',
    'dpkg-db-backup.timer',
    'e2scrub_all.timer',
    'fstrim.timer',
    'systemd-tmpfiles-clean.timer',
)


@dataclasses.dataclass(frozen=True)
class Debian:
    """What a guest is to consist of.

    :param suite: one of ``arguments.SUITES``; of backports it has the kernel.
    :param packages: what is installed in addition.
    :param setup: a shell script that is run in the guest's root, on this
        machine and so not emulated, before the disk is made of it.
    """

    suite: str = arguments.SUITES[0]
    packages: tuple[str, ...] = ()
    setup: str = ''

    def get(self) -> guest_image.GuestImage:
        """Find the guest in the cache, or make it.

        :returns: where its files are.
        :raises LabError: it cannot be made.
        """
        image = guest_image.GuestImage(
            layout.LAB.cache / f'guest-debian-{self._fingerprint()}',
            COMMAND_LINE,
        )
        if not image.folder.is_dir():
            words = ' with '.join((self.suite, *self.packages))
            with steps.step(f'make the guest: Debian {words}'):
                self._make(image)
        return image

    def _fingerprint(self) -> str:
        """Hash all that the guest is made from."""
        digest = hashlib.sha256(guest_image.fingerprint().encode())
        digest.update(pathlib.Path(__file__).read_bytes())
        made_of = (self.suite, sorted(self.packages), self.setup)
        digest.update(repr(made_of).encode())
        return digest.hexdigest()[:16]

    def _make(self, image: guest_image.GuestImage) -> None:
        image.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=image.folder.parent) as scratch:
            made = dataclasses.replace(
                image, folder=pathlib.Path(scratch) / 'guest'
            )
            made.folder.mkdir()
            root = pathlib.Path(scratch) / 'root'
            self._install(root)
            self._set_up(root, pathlib.Path(scratch))
            if self.setup:
                shell = ('/bin/sh', '-ec', self.setup)
                packages.run('chroot', str(root), *shell)
            shutil.copy(next(root.glob('boot/vmlinuz-*')), made.kernel)
            shutil.copy(next(root.glob('boot/initrd.img-*')), made.initramfs)
            guest_image.make_disk(made.disk, pathlib.Path(scratch), root)
            os.rename(made.folder, image.folder)  # All of it, or nothing.

    def _install(self, root: pathlib.Path) -> None:
        base = self.suite.removesuffix('-backports')
        mirror = _mirror()
        suites = [base, *([self.suite] if base != self.suite else [])]
        left_out = [
            f'--dpkgopt=path-exclude=/usr/share/{name}/*' for name in _LEFT_OUT
        ]
        # apt prefers a suite's backports only where it is told to.
        preferred = f'Package: linux-*\\nPin: release n={self.suite}'
        preferences = 'etc/apt/preferences.d/kernel'
        packages.run(
            'mmdebstrap',
            '--mode=root',
            '--variant=minbase',
            f'--include={",".join((*_PACKAGES, *self.packages))}',
            '--aptopt=APT::Install-Recommends "false"',
            *left_out,
            f"--setup-hook=printf '{preferred}\\nPin-Priority: 900\\n'"
            f' > "$1/{preferences}"',
            f'--setup-hook=mkdir -p "$1/{_PAGES}"',
            base,
            str(root),
            *(f'deb {mirror} {suite} main' for suite in suites),
        )

    def _set_up(self, root: pathlib.Path, scratch: pathlib.Path) -> None:
        for program in guest_image.programs(scratch):
            shutil.copy(program, root / 'usr/local/bin')
        (root / 'data').mkdir()
        (root / 'etc/hostname').write_text('debian\n')
        units = root / 'etc/systemd/system'
        (units / _READY).write_text(_READY_UNIT)
        wanted = units / 'multi-user.target.wants'
        wanted.mkdir(exist_ok=True)
        (wanted / _READY).symlink_to(f'../{_READY}')
        for unit in _MASKED:
            (units / unit).unlink(missing_ok=True)
            (units / unit).symlink_to('/dev/null')


def _mirror() -> str:
    """Find the mirror that apt uses on this machine, which is a Debian.

    :raises LookupError: it uses none.
    """
    listed = packages.run(
        'apt-get', 'indextargets', '--format', '$(REPO_URI) $(ORIGIN) $(LABEL)'
    )
    for line in listed.splitlines():
        uri, _, kind = line.partition(' ')
        if kind == 'Debian Debian':
            return uri
    raise LookupError('apt has no mirror of Debian')

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

"""The guest: Debian's kernel, a file system in memory, and a disk.

Everything in it comes from Debian's packages, which are unpacked and not
installed, and from the folder ``guest``. It is made once and cached.
"""

import dataclasses
import hashlib
import lzma
import os
import pathlib
import re
import shutil
import tempfile

from tests.lab import cpio
from tests.lab import layout
from tests.lab import packages
from tests.lab import steps

#: The kernel's command line; a guest that crashes restarts after 5 s. The
#: rest is for emulation (TCG) on a busy machine:
#: no_timer_check, lpj: measuring its own timers, the kernel gives up if
#: another process has the processor meanwhile ("8254 timer not connected").
#: maxcpus: init adds the other processors once the drivers are loaded. QEMU
#: 10.0 ends now and then ("iotlb_to_section: Assertion `section_index <
#: d->map.sections_nb' failed", 2 of 90 boots) when a driver maps a device
#: while another processor runs.
COMMAND_LINE = (
    'console=ttyS0 panic=5 quiet mitigations=off'
    ' no_timer_check lpj=10000000 maxcpus=1'
)

#: What the guest prints on its console once it is up.
READY = 'freemem guest: ready'

#: The virtual size of the disk, most of it never written.
DISK_GIB = 8

_SOURCES = pathlib.Path(__file__).parent / 'guest'
_DRIVERS = (
    'virtio_pci',
    'virtio_blk',
    'virtio_console',
    'virtio_balloon',
    'ext4',
)


@dataclasses.dataclass(frozen=True)
class GuestImage:
    """The three files a guest is started from, and its command line."""

    folder: pathlib.Path
    command_line: str = COMMAND_LINE

    @property
    def kernel(self) -> pathlib.Path:
        return self.folder / 'vmlinuz'

    @property
    def initramfs(self) -> pathlib.Path:
        return self.folder / 'initramfs.cpio'

    @property
    def disk(self) -> pathlib.Path:
        """An ext4 file system, as qcow2; the small guest's is empty."""
        return self.folder / 'disk.qcow2'


def get() -> GuestImage:
    """Find the guest in the cache, or make it.

    :returns: where its files are.
    :raises LabError: it cannot be made.
    """
    image = GuestImage(layout.LAB.cache / f'guest-{fingerprint()}')
    if not image.folder.is_dir():
        with steps.step('make the guest: kernel, initramfs, disk'):
            _make(image)
    return image


def fingerprint() -> str:
    """Hash all that the guest is made from."""
    modules = (__file__, cpio.__file__, packages.__file__)
    digest = hashlib.sha256()
    for source in sorted([*map(pathlib.Path, modules), *_SOURCES.iterdir()]):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _make(image: GuestImage) -> None:
    image.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=image.folder.parent) as scratch:
        made = GuestImage(pathlib.Path(scratch) / 'guest')
        made.folder.mkdir()
        root = packages.unpack(pathlib.Path(scratch) / 'root')
        shutil.copy(next(root.glob('boot/vmlinuz-*')), made.kernel)
        made.initramfs.write_bytes(_initramfs(root, pathlib.Path(scratch)))
        make_disk(made.disk, pathlib.Path(scratch))
        os.rename(made.folder, image.folder)  # All of it, or nothing.


# --- the file system in memory


def _initramfs(root: pathlib.Path, scratch: pathlib.Path) -> bytes:
    archive = cpio.Archive()
    for folder in ('dev', 'proc', 'sys', 'run', 'tmp', 'data', 'var'):
        archive.folder(folder)
    archive.link('var/run', '/run')
    archive.character_device('dev/console', 5, 1)
    archive.file('init', (_SOURCES / 'init').read_bytes(), True)
    shutdown = (_SOURCES / 'shutdown').read_bytes()
    archive.file('sbin/shutdown', shutdown, True)
    _add_shell(archive, root)
    _add_drivers(archive, root)
    _add_agent(archive, root)
    _add_programs(archive, scratch)
    return archive.to_bytes()


def _add_shell(archive: cpio.Archive, root: pathlib.Path) -> None:
    busybox = next(root.glob('**/bin/busybox'))
    archive.file('bin/busybox', busybox.read_bytes(), True)
    for command in packages.run(str(busybox), '--list').split():
        if command != 'busybox':
            archive.link(f'bin/{command}', 'busybox')


def _add_drivers(archive: cpio.Archive, root: pathlib.Path) -> None:
    """Add the drivers that are modules, and their order."""
    modules = {
        path.name.partition('.')[0].replace('-', '_'): path
        for path in root.glob('**/lib/modules/**/*.ko*')
    }
    order: list[str] = []

    def load(name: str) -> None:
        if name in order or name not in modules:  # The latter is built in.
            return
        code = _decompressed(modules[name])
        for needed in re.findall(rb'\0depends=([^\0]*)\0', code):
            for other in filter(None, needed.decode().split(',')):
                load(other.replace('-', '_'))
        order.append(name)
        archive.file(f'lib/modules/{name}.ko', code, False)

    for driver in _DRIVERS:
        load(driver)
    archive.file('etc/modules', '\n'.join([*order, '']).encode(), False)


def _decompressed(module: pathlib.Path) -> bytes:
    code = module.read_bytes()
    return lzma.decompress(code) if module.suffix == '.xz' else code


def _add_agent(archive: cpio.Archive, root: pathlib.Path) -> None:
    """Add the agent and the libraries that it needs."""
    agent = next(root.glob('**/sbin/qemu-ga'))
    loader = next(
        path
        for path in root.glob('**/ld-linux-x86-64.so.2')
        if path.is_file() and not path.is_symlink()
    )
    folders = {path.parent for path in root.glob('**/lib*.so.*')}
    search = ':'.join(str(folder) for folder in folders)
    listed = packages.run(
        str(loader), '--library-path', search, '--list', str(agent)
    )
    for library in re.findall(r'=> (\S+) \(', listed):
        name = pathlib.Path(library).name
        content = pathlib.Path(library).read_bytes()
        archive.file(f'lib/x86_64-linux-gnu/{name}', content, True)
    archive.file('lib64/ld-linux-x86-64.so.2', loader.read_bytes(), True)
    archive.file('bin/qemu-ga', agent.read_bytes(), True)


def _add_programs(archive: cpio.Archive, scratch: pathlib.Path) -> None:
    for program in programs(scratch):
        archive.file(f'bin/{program.name}', program.read_bytes(), True)


def programs(scratch: pathlib.Path) -> list[pathlib.Path]:
    """Build the programs that use the guest's memory.

    :param scratch: the folder to build them in.
    :returns: where they are.
    """
    built = []
    for source in _SOURCES.glob('*.c'):
        program = scratch / source.stem
        flags = ['-static', '-O2', '-Wall', '-Wextra', '-Werror', '-s']
        packages.run('gcc', *flags, '-o', str(program), str(source))
        built.append(program)
    return built


# --- the disk


def make_disk(
    disk: pathlib.Path,
    scratch: pathlib.Path,
    content: pathlib.Path | None = None,
) -> None:
    """Make a guest's disk.

    :param disk: the file.
    :param scratch: a folder for what is made on the way.
    :param content: the folder that it is to hold; None for an empty one.
    """
    raw = scratch / 'disk.raw'
    with raw.open('wb') as blank:
        blank.truncate(DISK_GIB << 30)
    # No journal: a guest's disk is not used again. Few inodes: nothing
    # writes to an empty one but what tests ask for.
    kind = ['-t', 'ext4', '-O', '^has_journal', '-E', 'lazy_itable_init=0']
    kind += ['-d', str(content)] if content else ['-T', 'largefile4']
    packages.run('mke2fs', '-q', *kind, str(raw))
    formats = ['-f', 'raw', '-O', 'qcow2']
    packages.run('qemu-img', 'convert', *formats, str(raw), str(disk))

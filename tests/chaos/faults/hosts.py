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


"""The link between the hosts, the disk or the clock of one fails."""

import hashlib
import pathlib
import struct
import subprocess

from tests.chaos.faults import base
from tests.chaos.faults import emulators
from tests.chaos.stage import Stage
from tests.lab import compute
from tests.lab import host as lab_host
from tests.lab import layout
from tests.lab import network

_CLOCK_SOURCE = pathlib.Path(__file__).with_name('clock.c')
_PRELOAD, _OFFSET = 'LD_PRELOAD', 'FREEMEM_CLOCK_OFFSET'
_HOUR_SECONDS = 3600
_END_SECONDS = 60

# Where libvirtd keeps the state of running domains, with their metadata, and
# their definitions.
# Where libvirtd keeps the state of running domains, with their metadata, and
# their definitions.
_FOLDERS = ('/run/libvirt/qemu', '/etc/libvirt/qemu')
# The files that are there are copied first.
# The files that are there are copied first.
_FULL = """
for place in "$@"; do
    mkdir -p /run/full
    mount -t tmpfs -o size=256k full /run/full
    cp -a "$place/." /run/full/
    dd if=/dev/zero of=/run/full/filler bs=4k 2> /dev/null || true
    mount --move /run/full "$place"
done
"""
# libvirtd replaces a file as a whole or not at all, so that the files are
# complete and can be kept.
# libvirtd replaces a file as a whole or not at all, so that the files are
# complete and can be kept.
_ROOM = """
for place in "$@"; do
    rm "$place/filler"
    cp -a "$place" /run/kept
    umount "$place"
    rm -rf "$place"/*
    cp -a /run/kept/. "$place/"
    rm -rf /run/kept
done
"""


class DiskFull(base.Fault):
    """A small, full disk is mounted in the place of these folders.

    :param side: ``source`` or ``destination``.
    """

    def __init__(self, side: str) -> None:
        super().__init__()
        self._side = side

    def inject(self, stage: Stage) -> None:
        """Mount and fill it."""
        _run(stage.host(self._side), _FULL)

    def recover(self, stage: Stage) -> None:
        """Unmount it, and keep what has been written meanwhile."""
        _run(stage.host(self._side), _ROOM)


def _run(host: lab_host.Host, script: str) -> None:
    host.run(['sh', '-ec', script, 'disk', *_FOLDERS])


class LinkCut(base.Fault):
    """The link is unplugged at the bridge: the sender sees no error."""

    def inject(self, stage: Stage) -> None:
        """Cut the link."""
        network.cut(stage.source.layout)

    def recover(self, stage: Stage) -> None:
        """Mend the link; start a guest that was lost in post-copy again."""
        network.mend(stage.source.layout)
        emulators.revive(stage)


class ClockJumped(base.Fault):
    """The clock of nova-compute on the source is set an hour ahead.

    The hosts of the lab share the clock of this machine, which must not be
    set: a library that is loaded into the process changes what it reads.
    """

    def prepare(self, stage: Stage) -> None:
        """Restart nova-compute with a clock that can be set."""
        _set_offset(0)
        _restart(
            stage,
            {
                _PRELOAD: str(library()),
                _OFFSET: str(_offset_file()),
            },
        )

    def inject(self, stage: Stage) -> None:
        """Set its clock."""
        _set_offset(_HOUR_SECONDS)

    def recover(self, stage: Stage) -> None:
        """Restart nova-compute with the real clock, after the migration."""
        stage.wait_idle(_END_SECONDS)
        _restart(stage, {})


def library() -> pathlib.Path:
    """Compile the library, unless it is in the cache.

    :returns: where it is.
    """
    code = _CLOCK_SOURCE.read_bytes()
    name = f'clock-{hashlib.sha256(code).hexdigest()[:16]}.so'
    made = layout.LAB.cache / name
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror']
        scratch = made.with_suffix('.new')
        subprocess.run(
            ['gcc', *flags, '-o', str(scratch), str(_CLOCK_SOURCE)], check=True
        )
        scratch.rename(made)
    return made


def _offset_file() -> pathlib.Path:
    return layout.LAB.run / 'clock-offset'


def _set_offset(seconds: int) -> None:
    """Write by how much the clock is off to the file that is mapped."""
    with _offset_file().open('r+b' if _offset_file().exists() else 'wb') as f:
        f.write(struct.pack('=q', seconds))


def _restart(stage: Stage, env: dict[str, str]) -> None:
    one: compute.Compute = stage.compute('source')
    one.stop()
    for name in (_PRELOAD, _OFFSET):
        one.environment.pop(name, None)
    one.environment.update(env)
    stage.start_computes()

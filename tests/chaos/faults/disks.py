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


"""The disk that libvirtd writes a guest's state to is full."""

from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import host as lab_host

# Where libvirtd keeps the state of running domains, with their metadata, and
# their definitions.
_FOLDERS = ('/run/libvirt/qemu', '/etc/libvirt/qemu')
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


class Full(base.Fault):
    """A small, full disk is mounted in the place of these folders.

    :param side: ``source`` or ``destination``.
    """

    def __init__(self, side: str) -> None:
        self._side = side

    def inject(self, stage: Stage) -> None:
        """Mount and fill it."""
        _run(stage.host(self._side), _FULL)

    def recover(self, stage: Stage) -> None:
        """Unmount it, and keep what has been written meanwhile."""
        _run(stage.host(self._side), _ROOM)


def _run(host: lab_host.Host, script: str) -> None:
    host.run(['sh', '-ec', script, 'disk', *_FOLDERS])

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


"""What a guest does by itself, or what happens in it.

A script in the guest does it and ends it: once its agent is gone, nobody
can tell it anything.
"""

import contextlib

import libvirt

from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import steps

_AGENT = '$(cat /run/qemu-ga.pid)'
_CHANNEL = '/dev/virtio-ports/org.qemu.guest_agent.0'

#: What the guest does, by the fault's name. Init starts an agent that has
#: ended anew after a second, unless its channel is not there: then it sleeps
#: for an hour, if it is let to.
SCRIPTS = {
    'agent-stopped': (
        f'target=$(readlink {_CHANNEL}); rm {_CHANNEL}; kill {_AGENT};'
        f' sleep 10; ln -s $target {_CHANNEL}; killall sleep'
    ),
    'agent-hung': f'agent={_AGENT}; kill -STOP $agent; sleep 10;'
    ' kill -CONT $agent',
    'agent-killed': f'kill -KILL {_AGENT}',
    'guest-reboots': 'reboot -f',
    'guest-panics': 'echo c > /proc/sysrq-trigger',
    'guest-needs-memory': (
        'for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do'
        ' dirty 25 keep; sleep 0.25; done; sleep 1; killall dirty'
    ),
    'balloon-driver': (
        'rmmod virtio_balloon; sleep 5; insmod /lib/modules/virtio_balloon.ko'
    ),
    'guest-clock': 'date -s "2031-05-06 07:08"',
}


_BOOT_SECONDS = 90
# From the order for post-copy until it runs, on a busy machine; it takes some
# ten seconds at the speed that the link has then.
_POST_COPY_SECONDS = 6


class InGuest(base.Fault):
    """A script in the guest.

    :param name: the fault's.
    """

    def __init__(self, name: str) -> None:
        self._script = SCRIPTS[name]
        self._is_armed = False

    def arm(self, stage: Stage) -> float:
        """Have it done in a while: libvirt reaches no agent in post-copy."""
        stage.in_guest(f'sleep {_POST_COPY_SECONDS}; {self._script}')
        self._is_armed = True
        return _POST_COPY_SECONDS

    def inflict(self, stage: Stage) -> None:
        """Have it done, unless it is being done."""
        if not self._is_armed:
            stage.in_guest(self._script)

    def heal(self, stage: Stage) -> None:
        """Wait until the guest answers again."""
        stage.wait_answering()


class StartsAnew(InGuest):
    """A script that ends the guest's kernel; another one is started."""

    def prepare(self, stage: Stage) -> None:
        """Remember which kernel runs."""
        self._before = _boot_id(stage)

    def heal(self, stage: Stage) -> None:
        """Wait until another one does."""
        steps.wait_for(
            lambda: _boot_id(stage) not in (None, self._before),
            'the guest to start anew',
            _BOOT_SECONDS,
            0.5,
        )


def _boot_id(stage: Stage) -> str | None:
    with contextlib.suppress(
        steps.LabError, libvirt.libvirtError, TimeoutError
    ):
        return stage.guest().boot_id(seconds=5)
    return None

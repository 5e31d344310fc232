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


"""What happens inside the guest.

A script in the guest injects the fault and ends it: once the guest agent is
gone, the guest cannot be reached.
"""

import contextlib

import libvirt

from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import steps

_AGENT = '$(cat /run/qemu-ga.pid)'
_CHANNEL = '/dev/virtio-ports/org.qemu.guest_agent.0'

#: What the guest runs, by the name of the fault. A second after the agent has
#: ended, init starts it again; if its channel is not there, init sleeps for an
#: hour instead, until that sleep is killed.
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
# From the request for post-copy until it is in progress, on a busy machine;
# post-copy takes some ten seconds at the speed that the link has then.
_POST_COPY_SECONDS = 6


class InGuest(base.Fault):
    """A script in the guest.

    :param name: the fault's.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._script = SCRIPTS[name]
        self._is_armed = False

    def arm(self, stage: Stage) -> float:
        """Start it with a delay: in post-copy libvirt reaches no agent."""
        stage.in_guest(f'sleep {_POST_COPY_SECONDS}; {self._script}')
        self._is_armed = True
        return _POST_COPY_SECONDS

    def inject(self, stage: Stage) -> None:
        """Start the script, unless it runs already."""
        if not self._is_armed:
            stage.in_guest(self._script)

    def recover(self, stage: Stage) -> None:
        """Wait until the guest answers again."""
        stage.wait_answering()


class Restarts(InGuest):
    """A script that ends the guest's kernel; the guest boots again."""

    def prepare(self, stage: Stage) -> None:
        """Remember the boot id of the kernel that runs."""
        self._before = _boot_id(stage)

    def recover(self, stage: Stage) -> None:
        """Wait until the guest has booted again."""
        steps.wait_for(
            lambda: _boot_id(stage) not in (None, self._before),
            'the guest to boot again',
            _BOOT_SECONDS,
            0.5,
        )


def _boot_id(stage: Stage) -> str | None:
    with contextlib.suppress(
        steps.LabError, libvirt.libvirtError, TimeoutError
    ):
        return stage.guest().boot_id(seconds=5)
    return None

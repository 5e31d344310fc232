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


"""The faults, as data: what each does by itself; the standard library alone.

How each is injected and recovered from stands in the package ``faults``.
"""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import enum
from typing import Any

from tests.chaos.phases import Phase


class Effect(enum.Enum):
    """What a fault does to a guest, with the plugin or without."""

    NONE = 'none'
    RESTART = 'it is restarted'
    DELETED = 'it is deleted'


class End(enum.Enum):
    """How Nova's migration ends, with the plugin or without."""

    COMPLETES = 'it completes'
    CLEAN = 'it completes or is cancelled, and nothing is left of it'
    ANY = 'it completes or fails'


@dataclasses.dataclass(frozen=True)
class Kind:
    """One fault.

    :param name: what it is called on a command line and in a file.
    :param about: what it is called in a table.
    :param seconds: how long it lasts before the cloud recovers from it.
    :param end: how Nova ends the migration.
    :param effect: what it does to the guest ...
    :param effect_phases: ... in these phases; nothing in others.
    :param several: whether other guests migrate at the same time.
    :param lets_restore: whether a guest that has landed is to be whole while
        the fault lasts.
    """

    name: str
    about: str
    seconds: float = 0.0
    end: End = End.COMPLETES
    effect: Effect = Effect.NONE
    effect_phases: Collection[Phase] = tuple(Phase)
    several: bool = False
    lets_restore: bool = False

    def effect_in(self, phase: Phase) -> Effect:
        """Return what it does to a guest in a phase."""
        return self.effect if phase in self.effect_phases else Effect.NONE


_FROM_POST_COPY = tuple(one for one in Phase if one >= Phase.POST_COPY)
# Each host has a part of the guest's memory: if libvirtd loses track of the
# migration, both stay paused.
_IN_POST_COPY = (Phase.POST_COPY,)

# What Nova does with a server at its owner's or the operator's request.
_OF_SERVER: Mapping[str, Any] = {'end': End.ANY, 'effect': Effect.RESTART}

_ALL = (
    Kind('compute-source', 'nova-compute killed, source', end=End.ANY),
    Kind(
        'compute-destination', 'nova-compute killed, destination', end=End.ANY
    ),
    Kind('compute-both', 'nova-compute killed, both', end=End.ANY),
    Kind(
        'libvirtd-source',
        'libvirtd restarted, source',
        end=End.ANY,
        effect=Effect.RESTART,
        effect_phases=_IN_POST_COPY,
    ),
    Kind(
        'libvirtd-destination',
        'libvirtd restarted, destination',
        end=End.ANY,
        effect=Effect.RESTART,
        effect_phases=_IN_POST_COPY,
    ),
    Kind(
        'qemu-source',
        'QEMU killed, source',
        end=End.ANY,
        effect=Effect.RESTART,
    ),
    Kind(
        'qemu-destination',
        'QEMU killed, destination',
        end=End.ANY,
        effect=Effect.RESTART,
        effect_phases=_FROM_POST_COPY,
    ),
    Kind(
        'link-interrupted',
        'link cut for 8 s',
        seconds=8,
        end=End.ANY,
        effect=Effect.RESTART,
        effect_phases=_FROM_POST_COPY,
    ),
    Kind(
        'link-cut',
        'link cut for good',
        seconds=45,
        end=End.ANY,
        effect=Effect.RESTART,
        effect_phases=_FROM_POST_COPY,
    ),
    Kind('broker', 'RabbitMQ restarted', end=End.ANY),
    Kind('agent-stopped', 'guest agent stopped', seconds=10),
    Kind('agent-hung', 'guest agent hung', seconds=10),
    Kind('agent-killed', 'guest agent killed'),
    Kind('guest-reboots', 'guest reboots', effect=Effect.RESTART),
    Kind('guest-panics', 'guest panics', effect=Effect.RESTART),
    Kind('guest-needs-memory', 'guest needs its memory', seconds=5),
    Kind('guest-paused', 'guest paused for 5 s', seconds=5),
    Kind(
        'server-deleted', 'server deleted', end=End.ANY, effect=Effect.DELETED
    ),
    Kind('abort', 'migration aborted', end=End.CLEAN),
    Kind('force-complete', 'migration forced to complete'),
    Kind('balloon-driver', 'balloon driver unloaded for 5 s', seconds=6),
    Kind('balloon-moved', 'another program resizes the balloon'),
    Kind('disk-source', 'disk full, source', seconds=8, end=End.ANY),
    Kind('disk-destination', 'disk full, destination', seconds=8, end=End.ANY),
    Kind('guest-clock', "the guest's clock jumps by years"),
    # Nova measures the time of a migration by that clock.
    Kind('host-clock', "the source's clock jumps by an hour", end=End.ANY),
    Kind(
        'libvirtd-alone-source',
        'libvirtd alone restarted, source',
        end=End.ANY,
        effect=Effect.RESTART,
        effect_phases=_IN_POST_COPY,
    ),
    Kind(
        'libvirtd-alone-destination',
        'libvirtd alone restarted, destination',
        end=End.ANY,
        effect=Effect.RESTART,
        effect_phases=_IN_POST_COPY,
    ),
    Kind(
        'broker-stalled',
        'RabbitMQ does not answer for 60 s',
        seconds=60,
        end=End.ANY,
        lets_restore=True,
    ),
    Kind(
        'placement-down',
        'Placement down for 30 s',
        seconds=30,
        end=End.ANY,
        lets_restore=True,
    ),
    Kind('restore-command', 'nova-freemem restore --all'),
    Kind('repair-command', 'nova-freemem repair'),
    Kind('plugin-disabled', 'plugin disabled, destination', end=End.ANY),
    Kind('plugin-removed', 'plugin removed, destination', end=End.ANY),
    Kind(
        'plugin-newer',
        'plugin of another journal format, destination',
        end=End.ANY,
    ),
    Kind('hard-reboot', 'server rebooted hard', **_OF_SERVER),
    Kind('resize', 'server resized', **_OF_SERVER),
    Kind('rebuild', 'server rebuilt', **_OF_SERVER),
    Kind('rescue', 'server rescued', **_OF_SERVER),
    Kind('suspend', 'server suspended', end=End.ANY),
    Kind('shelve', 'server shelved', **_OF_SERVER),
    Kind('snapshot', 'snapshot of the server', end=End.ANY),
    Kind('evacuate', 'server evacuated', **_OF_SERVER),
    Kind(
        'compute-stopped-source',
        'nova-compute stopped by SIGTERM, source',
        end=End.ANY,
    ),
    Kind(
        'compute-stopped-destination',
        'nova-compute stopped by SIGTERM, destination',
        end=End.ANY,
    ),
    # With three other guests.
    Kind(
        'others-qemu-source',
        "another guest's QEMU stopped, source",
        seconds=45,
        end=End.ANY,
        several=True,
        lets_restore=True,
    ),
    Kind(
        'others-qemu-destination',
        "another guest's QEMU stopped, destination",
        seconds=45,
        end=End.ANY,
        several=True,
        lets_restore=True,
    ),
    Kind(
        'several-libvirtd-destination',
        'libvirtd alone restarted, destination; four guests',
        end=End.ANY,
        several=True,
    ),
    Kind(
        'several-libvirtd-source',
        'libvirtd alone restarted, source; four guests',
        end=End.ANY,
        several=True,
    ),
    Kind(
        'several-compute-source',
        'nova-compute killed, source; four guests',
        end=End.ANY,
        several=True,
    ),
    Kind(
        'several-compute-destination',
        'nova-compute killed, destination; four guests',
        end=End.ANY,
        several=True,
    ),
    Kind(
        'several-broker-stalled',
        'RabbitMQ does not answer for 60 s; four guests',
        seconds=60,
        end=End.ANY,
        several=True,
        lets_restore=True,
    ),
    Kind(
        'several-restore-command',
        'nova-freemem restore --all; four guests',
        several=True,
    ),
    Kind(
        'several-abort',
        'migration of one of four guests aborted',
        end=End.CLEAN,
        several=True,
    ),
)

#: All of them by name, in the order of the table.
KINDS = {kind.name: kind for kind in _ALL}

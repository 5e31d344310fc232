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


"""The words of ``/proc/kpageflags``, through an agent to ``ranges``."""

import struct

from nova_freemem import clock as clocks
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire import ranges
from nova_freemem.virt import guest as guests
from tests.fuzz import handle
from tests.fuzz import oracle
from tests.fuzz import script
from tests.fuzz.targets import agent

MODULES = ('nova_freemem.acquire.ranges', 'nova_freemem.acquire.guest_agent')

MAXIMUM_KIB = 64 * 1024

_TABLES = (
    b'MemTotal: 60000 kB\nMemFree: 40000 kB\n'
    b'Node 0, zone DMA 1 0 0 0 0 0 0 0 0 0 9\n'
)
_AUXV = struct.pack('<4Q', 6, 4096, 0, 0)
_WORDS = (
    struct.pack('<Q', 1 << ranges.BUDDY) * 9217 + struct.pack('<Q', 0) * 7167
)


def seeds() -> list[bytes]:
    """:returns: a guest of 64 MiB that answers, and such as fail."""
    opened, closed = script.returned(1000), script.returned({})
    auxv = [opened, _content(_AUXV), closed]
    honest = [
        *auxv,
        *_printed(_TABLES),
        opened,
        _content(_WORDS),
        closed,
        *_printed(_TABLES),
    ]
    return [
        script.written(*answers)
        for answers in (
            honest,
            honest[:6],
            [*honest[:5], '*9 x'],
            [*_printed(_AUXV), *_printed(_TABLES)],
            ['~19 ' + answer for answer in honest],
        )
    ]


def run(data: bytes) -> None:
    """Ask a guest that gives these answers.

    :param data: see script.py.
    """
    source = guest_agent.GuestAgent('guest_agent', agent.TIMEOUT_SECONDS)
    with handle.fake_time() as clock:
        guest = handle.Handle(clock)
        guest.agent = script.agent(data)
        started_at = clock.now()
        with handle.reached_by_libvirt(), oracle.only_own_errors():
            answer = ranges.acquire(
                source,
                guests.Guest(guest),
                MAXIMUM_KIB,
                clock,
                clocks.Deadline(clock, agent.DEADLINE_SECONDS),
            )
            assert answer.free_kib + answer.ballooned_kib <= MAXIMUM_KIB
            assert len(answer.free) <= ranges.MOST_RANGES
    late_seconds = clock.now() - started_at - agent.DEADLINE_SECONDS
    assert late_seconds <= agent.LATE_SECONDS, f'{late_seconds:.1f} s late'


def _content(content: bytes) -> str:
    return script.returned(
        {
            'count': len(content),
            'eof': False,
            'buf-b64': script.encoded(content),
        }
    )


def _printed(content: bytes) -> list[str]:
    return [
        script.returned({'pid': 1}),
        script.returned(
            {
                'exited': True,
                'exitcode': 0,
                'out-data': script.encoded(content),
            }
        ),
    ]

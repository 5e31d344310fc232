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


"""The guest agent's answers, through libvirt to ``GuestAgent``."""

from nova_freemem import clock as clocks
from nova_freemem.acquire import guest_agent
from nova_freemem.virt import guest as guests
from tests.fuzz import handle
from tests.fuzz import oracle
from tests.fuzz import script
from tests.fuzz.targets import tables

MODULES = ('nova_freemem.acquire.guest_agent',)

TIMEOUT_SECONDS = 2
DEADLINE_SECONDS = 5.0
# An answer is waited for at least 1 s, and a file that was opened is closed.
LATE_SECONDS = handle.SYNC_SECONDS + 1 + 1

_BLOCKED = '!113 Command guest-exec has been disabled'


def seeds() -> list[bytes]:
    """:returns: an agent that runs cat, and one that reads files."""
    exited = {
        'exitcode': 0,
        'exited': True,
        'out-data': script.encoded(tables.captured()),
    }
    content = {
        'count': 4096,
        'eof': True,
        'buf-b64': script.encoded(tables.captured()),
    }
    file = [
        script.returned(1000),
        script.returned(content),
        script.returned({}),
    ]
    return [
        script.written(
            script.returned({'pid': 711}),
            '~3 ' + script.returned({'exited': False}),
            script.returned(exited),
        ),
        script.written(_BLOCKED, *file, *file),
        script.written(
            '~9 ' + script.returned({'pid': 711}),
            '~19 ' + script.returned({'exited': False}),
        ),
        script.written(
            script.returned({'pid': 1}),
            '*99999 [',
            '*9999 {"a":',
            '!86 Guest agent is not responding',
        ),
        script.written('~150 !112 Guest agent command timed out'),
    ]


def run(data: bytes) -> None:
    """Ask an agent that gives these answers.

    :param data: see script.py.
    """
    source = guest_agent.GuestAgent('guest_agent', TIMEOUT_SECONDS)
    with handle.fake_time() as clock:
        guest = handle.Handle(clock)
        guest.agent = script.agent(data)
        started_at = clock.now()
        with handle.reached_by_libvirt(), oracle.only_own_errors():
            tables.check(
                source.acquire(
                    guests.Guest(guest),
                    clock,
                    clocks.Deadline(clock, DEADLINE_SECONDS),
                )
            )
    late_seconds = clock.now() - started_at - DEADLINE_SECONDS
    assert late_seconds <= LATE_SECONDS, f'{late_seconds:.1f} s late'

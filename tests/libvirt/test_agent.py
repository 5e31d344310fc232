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

"""What the guest agent answers, and how it fails to."""

import json

from nova_freemem import exceptions
from tests.lab import virt
from tests.libvirt import base

# libvirt's numbers, as the operator reads them in a log.
_INVALID = 55
_NO_CHANNEL = 74
_NOT_RUNNING = 86
_TIMED_OUT = 112
_REFUSED = 113

TALKATIVE = 'lab-agent'
RESTRICTED = 'lab-restricted'
SILENT = 'lab-silent'
NO_CHANNEL = 'lab-no-channel'


def _request(command: str, **arguments: object) -> str:
    return json.dumps({'execute': command, 'arguments': arguments})


class AgentTest(base.RoomTestCase):
    """Agents of four kinds, each in a guest of its own."""

    specs = (
        virt.GuestSpec(TALKATIVE, 256, 1),
        virt.GuestSpec(RESTRICTED, 256, 1, flags='freemem.agent=restricted'),
        virt.GuestSpec(SILENT, 256, 1, flags='freemem.agent=off'),
        virt.GuestSpec(NO_CHANNEL, 256, 1, channel=False),
    )

    def assert_error(
        self,
        kind: type[exceptions.LibvirtError],
        code: int,
        name: str,
        request: str = _request('guest-ping'),
    ) -> None:
        with self.assertRaises(kind) as caught:
            self.domain(name).agent_command(request, 1)
        self.assertEqual(code, caught.exception.details['code'])

    def test_answer_of_an_agent(self) -> None:
        self.guest(TALKATIVE)
        answer = self.domain(TALKATIVE).agent_command(
            _request('guest-ping'), 5
        )
        self.assertEqual({'return': {}}, json.loads(answer))

    def test_no_channel_in_the_domain(self) -> None:
        self.assert_error(
            exceptions.AgentUnresponsive, _NO_CHANNEL, NO_CHANNEL
        )

    def test_no_agent_in_the_guest(self) -> None:
        self.assert_error(exceptions.AgentUnresponsive, _NOT_RUNNING, SILENT)

    def test_agent_that_hangs(self) -> None:
        guest = self.guest(TALKATIVE)
        # Stopped once it has answered; goes on by itself after the test.
        script = 'sleep 1; killall -STOP qemu-ga; sleep 8; '
        script += 'killall -CONT qemu-ga'
        detached = f'({script}) > /dev/null 2>&1 &'
        guest.do('sh', '-c', detached)
        self.wait_until('the agent hangs', lambda: self._hangs(TALKATIVE))
        self.assert_error(
            exceptions.AgentUnresponsive, _NOT_RUNNING, TALKATIVE
        )
        self.guest(TALKATIVE)

    def _hangs(self, name: str) -> bool:
        try:
            self.domain(name).agent_command(_request('guest-ping'), 1)
        except exceptions.AgentUnresponsive as error:
            self.assertEqual(_TIMED_OUT, error.details['code'])
            return True
        return False

    def test_agent_of_a_paused_guest(self) -> None:
        self.guest(TALKATIVE)
        _, handle = virt.find(TALKATIVE)
        handle.suspend()
        self.addCleanup(handle.resume)
        self.assertFalse(self.domain(TALKATIVE).is_running())
        self.assert_error(exceptions.AgentUnresponsive, _INVALID, TALKATIVE)

    def test_agent_that_may_run_nothing_and_open_nothing(self) -> None:
        self.guest(RESTRICTED)
        for request in (
            _request('guest-exec', path='cat'),
            _request('guest-file-open', path='/proc/meminfo'),
        ):
            self.assert_error(
                exceptions.AgentCommandRefused, _REFUSED, RESTRICTED, request
            )

    def test_unknown_command_and_missing_file(self) -> None:
        self.guest(TALKATIVE)
        for request in (
            _request('guest-juggle'),
            _request('guest-file-open', path='/nowhere'),
        ):
            self.assert_error(
                exceptions.AgentCommandRefused, _REFUSED, TALKATIVE, request
            )

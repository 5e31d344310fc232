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


"""The answers of a guest agent, written as bytes that a fuzzer can change.

Answers are separated by ``\\x1e``. An answer may begin with the time it takes
(``~`` and tenths of a second), with the code of libvirt's error that it is
(``!`` and a number), and with how often its text is repeated (``*`` and a
number): a few bytes stand for a megabyte. The last answer is given for ever.
"""

import base64
import dataclasses
import json
import re
from typing import Any

from tests.fuzz import handle

_ANSWER = re.compile(
    r'(?:~(\d{1,4}) )?(?:!(\d{1,3}) )?(?:\*(\d{1,7}) )?', re.ASCII
)

# libvirt passes no longer string to its client (REMOTE_STRING_MAX in
# src/remote/remote_protocol.x, libvirt 11).
LONGEST_ANSWER_CHARACTERS = 4 * 1024 * 1024


@dataclasses.dataclass
class Agent:
    """Gives one answer after the other."""

    answers: list[bytes]

    def __call__(self) -> tuple[str | Exception, float]:
        """:returns: the next answer, and the seconds it takes."""
        answer = self.answers[0].decode(errors='replace')
        del self.answers[: len(self.answers) > 1]
        head = _ANSWER.match(answer)
        assert head is not None
        tenths, code, times = head.groups()
        text = answer[head.end() :]
        if times and text:
            text *= min(int(times), LONGEST_ANSWER_CHARACTERS // len(text))
        return (
            handle.error(int(code), text) if code else text,
            int(tenths or 0) / 10,
        )


def agent(data: bytes) -> Agent:
    """:returns: the agent that data describe."""
    return Agent(data.split(b'\x1e'))


def written(*answers: str) -> bytes:
    """:returns: data that describe these answers."""
    return b'\x1e'.join(answer.encode() for answer in answers)


def returned(value: Any) -> str:
    """:returns: an answer as an agent gives it."""
    return json.dumps({'return': value})


def encoded(content: bytes) -> str:
    """:returns: the content of a file as an agent gives it."""
    return base64.b64encode(content).decode()

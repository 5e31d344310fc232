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


"""What Placement answers, in ``Destinations``, and what the session raises."""

import json

from nova_freemem import clock as clocks
from nova_freemem.migrate import readiness
from tests.fuzz import oracle

MODULES = ('nova_freemem.migrate.readiness',)

# The first byte says which of them it is, or that an error is raised.
_STATUSES = (200, 200, 400, 404, 500, None)
_READY = b'{"resource_providers": [{"name": "host2.example.org"}]}'


def seeds() -> list[bytes]:
    """:returns: a destination that is ready, one that is not, and errors."""
    return [
        b'\0' + _READY,
        b'\0{"resource_providers": []}',
        b'\x02{"errors": [{"status": 400, "title": "Bad Request"}]}',
        b'\x04<html>\nBad Gateway</html>',
        b'\x05Unable to establish connection:\n[Errno 111] refused',
    ]


class _Response:
    def __init__(self, status_code: int, body: str) -> None:
        self.status_code = status_code
        self._body = body

    def json(self) -> object:
        return json.loads(self._body)


def run(data: bytes) -> None:
    """Look a destination up.

    :param data: the kind of the answer, and its body.
    """
    status = _STATUSES[(data or b'\0')[0] % len(_STATUSES)]
    body = data[1:].decode(errors='surrogateescape')

    def get(_url: str, version: str) -> _Response:
        del version
        if status is None:
            raise OSError(body)
        return _Response(status, body)

    with oracle.only_own_errors():
        skip = readiness.Destinations(get, clocks.Clock()).skip('host2')
    if skip is None:
        assert status == 200, f'ready by an answer of {status}'
        assert json.loads(body)['resource_providers'], 'ready by nothing'
    else:
        oracle.check_harmless(str(skip))

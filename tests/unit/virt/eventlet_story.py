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

"""Ten live migrations on eventlet, as in Nova 31 to 33; a process of its own.

Eventlet patches the standard library for good, so this runs apart from the
tests.
"""

import eventlet

eventlet.monkey_patch()

import time  # noqa: E402

from eventlet import patcher  # noqa: E402
from eventlet import tpool as pool  # noqa: E402

from nova_freemem.virt import tpool  # noqa: E402

TRANSFERS = 10
SILENT_AGENTS = 30

native = patcher.original('threading')


class Domain:
    """A libvirt domain whose calls take as long as they are told to."""

    def __init__(self) -> None:
        self.ended = native.Event()

    def migrate(self) -> None:
        """Transfer the guest."""
        self.ended.wait()

    def ask(self) -> None:
        """Wait for an agent that never answers."""
        native.Event().wait()


def main() -> None:
    """Migrate guests whose agents do not answer.

    Prints the seconds that a call of Nova's took meanwhile, and one of the
    plugin's; the process ends while the agents are still waited for.
    """
    domain = Domain()
    novas = pool.Proxy(domain)
    for _ in range(TRANSFERS):
        eventlet.spawn(novas.migrate)
    for _ in range(SILENT_AGENTS):
        eventlet.spawn(tpool.own(novas).ask)
    eventlet.sleep(0.2)
    for call in (pool.execute, tpool.call):
        began_at_seconds = time.monotonic()
        with eventlet.Timeout(60):
            call(time.monotonic)
        print(time.monotonic() - began_at_seconds)
    domain.ended.set()


if __name__ == '__main__':
    main()

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

"""The reconciler on eventlet, as Nova 31 to 33 run it; a process of its own.

Eventlet patches the standard library for good, so this runs apart from the
tests. Libvirt is its own test driver, behind Nova's kind of proxy, and slow.
"""

import eventlet

eventlet.monkey_patch()

import threading  # noqa: E402

from eventlet import patcher  # noqa: E402
from eventlet import tpool  # noqa: E402
import libvirt  # noqa: E402

from nova_freemem import clock as clocks  # noqa: E402
from nova_freemem.restore import locks  # noqa: E402
from nova_freemem.restore import reconciler  # noqa: E402
from nova_freemem.virt import host as hosts  # noqa: E402

GUESTS = 20
# So much that what a busy machine adds does not count.
CALL_SECONDS = 0.1
DOMAIN = """
<domain type="test">
  <name>instance-{0:08x}</name>
  <memory>4194304</memory>
  <os><type>hvm</type></os>
</domain>
"""


def slow(method):
    """:returns: the method, which keeps its native thread for a while."""
    sleep = patcher.original('time').sleep

    def slowed(*args):
        sleep(CALL_SECONDS)
        return method(*args)

    return slowed


def connect():
    """:returns: a host whose guests all have entries nobody can read."""
    libvirt.registerErrorHandler(lambda *_args: None, None)
    connection = libvirt.open('test:///default')
    for number in range(GUESTS):
        connection.createXML(DOMAIN.format(number), 0).setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            '<outstanding/>',
            'freemem',
            'urn:nova-freemem:journal',
            libvirt.VIR_DOMAIN_AFFECT_LIVE,
        )
    libvirt.virDomain.metadata = slow(libvirt.virDomain.metadata)
    return tpool.Proxy(
        connection, autowrap=(libvirt.virConnect, libvirt.virDomain)
    )


def main():
    """Have it check all guests.

    Prints how long other green threads had to wait at most, how long libvirt
    took in all, in seconds, and whether a thread is left.
    """
    connection, clock = connect(), clocks.Clock()
    restorer = reconciler.Reconciler(
        hosts.Connections(lambda: connection, 1).host,
        locks.Locks(clock),
        clock,
        3600,
        4,
    )
    restorer.start()
    longest_seconds, complained = 0.0, 0
    while complained < GUESTS:
        before = clock.now()
        eventlet.sleep(0.001)
        longest_seconds = max(longest_seconds, clock.now() - before)
        complained = sum(
            state.unreadable is not None
            for state in restorer.remembered().values()
        )
    restorer.stop()
    eventlet.sleep(0.1)
    print(
        longest_seconds,
        GUESTS * CALL_SECONDS,
        'freemem-reconcile'
        in [thread.name for thread in threading.enumerate()],
    )


if __name__ == '__main__':
    main()

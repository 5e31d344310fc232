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

"""Nova sends a guest's memory in another way than by default."""

from collections.abc import Mapping
import dataclasses
import functools
import json
import os
import re
from typing import Any
import unittest

import libvirt
import libvirt_qemu

from tests.cloud import base
from tests.lab import certificates
from tests.lab import guest as lab_guest
from tests.lab import servers
from tests.lab import steps

_MEMORY_MIB, _FREED_MIB, _HELD_MIB = 1536, 900, 48

# What is sent with a release, of what is sent without. Before the transfer,
# that is a matter of how much is released, not of how busy the machine is.
_MOST_SHARE = 0.5

# It takes auto-converge about 20 s to slow a guest down far enough, in which
# the same is sent with a release and without.
_MOST_SHARE_THROTTLED = 0.75

# So fast a guest rewrites memory that its transfer cannot end by itself, and
# so slow is the link.
_REWRITTEN_PAGES_PER_SECOND = 20000
_SLOW_MBIT = 200

_OPTIONS = """\
[freemem]
mode = before
migration_bandwidth_mbps = 0
[libvirt]
"""


@dataclasses.dataclass(frozen=True)
class _Sent:
    """A migration.

    :param bytes_sent: over the link.
    :param seconds: from the request to Nova's end of it.
    :param capabilities: of QEMU, what was on.
    :param parameters: of QEMU.
    :param throttle_percent: by how much auto-converge slowed the guest down.
    """

    bytes_sent: int
    seconds: float
    capabilities: frozenset[str]
    parameters: Mapping[str, Any]
    throttle_percent: int

    def __str__(self) -> str:
        """Return its figures."""
        return (
            f'{self.bytes_sent >> 20} MiB in {self.seconds:.1f} s, '
            f'throttled by {self.throttle_percent} %'
        )


@unittest.skipUnless(
    os.environ.get('NOVA_FREEMEM_STREAMS'),
    'NOVA_FREEMEM_STREAMS is not in the environment',
)
class GuestSentInAnotherWay(base.CloudTestCase):
    """It has freed 900 of its 1536 MiB before each of its migrations.

    The first host releases memory and the second does not: so it leaves with
    a release and returns without one, and nothing is restarted in between.
    Nobody has told the plugin what the link carries.
    """

    destination_lines = base.RELEASES_NOTHING

    def test_over_parallel_connections_with_native_tls(self) -> None:
        certificates.make()
        self._configure(
            'live_migration_parallel_connections = 2',
            'live_migration_with_native_tls = true',
        )
        released, _plain = self._there_and_back(self._boot())
        self.assertIn('multifd', released.capabilities)
        self.assertEqual(2, released.parameters['multifd-channels'])
        self.assertTrue(released.parameters['tls-creds'])

    def test_through_a_tunnel_of_libvirt(self) -> None:
        self._configure('live_migration_tunnelled = true')
        self._there_and_back(self._boot())

    def test_slowed_down_by_auto_converge(self) -> None:
        self._configure('live_migration_permit_auto_converge = true')
        server = self._boot()
        guest = self.cloud.guest(server)
        guest.let_go()
        guest.hold(_HELD_MIB, _REWRITTEN_PAGES_PER_SECOND)
        self.set_link(_SLOW_MBIT)
        released, plain = self._there_and_back(server, _MOST_SHARE_THROTTLED)
        self.assertIn('auto-converge', released.capabilities)
        for one in (released, plain):
            self.assertGreater(one.throttle_percent, 0, one)
        self._use_and_leave(server)
        log = '\n'.join(self.log_of(self.source, server))
        # It knows what the link carries, however the last transfer ended.
        (learnt,) = re.findall(r'([0-9]+) Mbit/s \(measured in', log)
        self.assertGreater(int(learnt), 0.75 * _SLOW_MBIT, log)

    def _configure(self, *lines: str) -> None:
        self.lines = _OPTIONS + '\n'.join((*lines, ''))
        self.start_computes()

    def _boot(self) -> servers.Server:
        return self.boot_used(_MEMORY_MIB, _FREED_MIB, held_mib=_HELD_MIB)

    def _there_and_back(
        self, server: servers.Server, most_share: float = _MOST_SHARE
    ) -> tuple[_Sent, _Sent]:
        """Migrate it with a release and without, and compare what was sent.

        :param most_share: what is sent with it, of what is sent without.
        :returns: with, and without.
        """
        released, plain = self._leave(server), self._use_and_leave(server)
        figures = f'{released}; without a release {plain}'
        with steps.step(figures):  # which shows them
            self.assertLess(
                released.bytes_sent, most_share * plain.bytes_sent, figures
            )
        return released, plain

    def _use_and_leave(self, server: servers.Server) -> _Sent:
        self.cloud.guest(server).fill_dirty(_FREED_MIB)
        return self._leave(server)

    def _leave(self, server: servers.Server) -> _Sent:
        guest = self.cloud.guest(server)
        before = self.question(server)
        source = self.cloud.host(server)
        sent_before, _ = source.link_bytes()
        started = self.cloud.begin_migration(server)
        job = functools.partial(_transfer, guest)
        self.wait_until('the transfer', job, seconds=240)
        capabilities = _ask_qemu(guest, 'query-migrate-capabilities')
        parameters = _ask_qemu(guest, 'query-migrate-parameters')
        throttled = [0]

        def ended() -> bool:
            now = job()
            throttled.append(now.get('auto_converge_throttle', 0))
            return not now

        self.wait_until('the end of the transfer', ended, seconds=240)
        migration = self.cloud.finish_migration(server, started)
        sent, _ = source.link_bytes()
        self.assertEqual('completed', migration.status)
        self.assert_whole(server, before)
        return _Sent(
            bytes_sent=sent - sent_before,
            seconds=migration.seconds,
            capabilities=frozenset(
                one['capability'] for one in capabilities if one['state']
            ),
            parameters=parameters,
            throttle_percent=max(throttled),
        )


def _transfer(guest: lab_guest.Guest) -> Mapping[str, Any]:
    """Read libvirt's figures of a transfer; none before it and after."""
    try:
        figures: Mapping[str, Any] = guest.domain.jobStats()
    except libvirt.libvirtError:
        return {}  # It has left.
    return figures if figures.get('memory_processed') else {}


def _ask_qemu(guest: lab_guest.Guest, command: str) -> Any:
    """Send a command to QEMU's monitor, past libvirt."""
    answer = libvirt_qemu.qemuMonitorCommand(
        guest.domain, json.dumps({'execute': command}), 0
    )
    return json.loads(answer)['return']

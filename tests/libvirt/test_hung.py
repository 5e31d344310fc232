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

"""QEMU processes that do not answer, and all the others on their host."""

from concurrent import futures
import os
import pathlib
import signal
import subprocess
import sys
import threading
from unittest import mock

import libvirt

from nova_freemem import clock as clocks
from nova_freemem.migrate import decision
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.virt import host as hosts
from tests.lab import host as lab_host
from tests.lab import processes
from tests.lab import room
from tests.lab import virt
from tests.libvirt import base

GUEST = 'lab-answers'
MEMORY_MIB = 512
SHRUNK_KIB = 300 << 10
# More than libvirtd works on at a time for one connection, which are five.
HUNG = tuple(f'lab-hung-{number}' for number in range(6))
HUNG_MIB = 128
INTERVAL_SECONDS = 60
WORKERS = 4

# A nova-compute's reconciler, which is killed.
_RECONCILER = """
import time
from tests.libvirt import test_hung
from tests.lab import room
test_hung.make_reconciler(room.hosts()[0]).start()
print('started', flush=True)
time.sleep(3600)
"""


def make_reconciler(host: lab_host.Host) -> reconciler.Reconciler:
    """Make the reconciler of a host, as nova-compute has it."""
    clock = clocks.Clock()
    return reconciler.Reconciler(
        hosts.Connections(host.libvirt, WORKERS).host,
        locks.Locks(clock),
        clock,
        INTERVAL_SECONDS,
        WORKERS,
    )


def workers() -> list[threading.Thread]:
    """Find the workers of this process that have not ended."""
    return [
        thread
        for thread in threading.enumerate()
        if thread.name == 'freemem-restore'
    ]


class HungTestCase(base.RoomTestCase):
    """Six guests whose QEMU is to be stopped, and one that answers."""

    specs = (virt.GuestSpec(GUEST, MEMORY_MIB),)

    def setUp(self) -> None:
        super().setUp()
        self.guest(GUEST)  # It is wanted on the first host, and booted.
        self.host = room.hosts()[0]
        self.nova = self.host.libvirt()
        self.assertEqual(self.host.name, virt.find(GUEST)[0].name)
        for name in HUNG:
            domain = virt.boot(self.host, virt.GuestSpec(name, HUNG_MIB, 1))
            self.addCleanup(virt.remove, domain)

    def stop_all(self) -> None:
        """Stop their QEMU, until :meth:`continue_all`."""
        self.pids = [self.pid(name) for name in HUNG]
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)
            self.addCleanup(os.kill, pid, signal.SIGCONT)

    def continue_all(self) -> None:
        """Have them answer again."""
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)

    def pid(self, name: str) -> int:
        """Find the QEMU of a guest."""
        (process,) = processes.find(
            lambda pid: (
                f'guest={name},'
                in pathlib.Path(f'/proc/{pid}/cmdline').read_text()
            )
        )
        return process.pid

    def assert_nova_is_answered(self) -> None:
        """Nova's own connection, which has been there all the time."""
        with futures.ThreadPoolExecutor() as pool:
            for call in (
                self.nova.getLibVersion,
                self.nova.listAllDomains,
                self.nova.lookupByName(GUEST).memoryStats,
            ):
                pool.submit(call).result(5)


class RestoreTest(HungTestCase):
    """The guest that answers misses its memory."""

    def setUp(self) -> None:
        super().setUp()
        for name in HUNG:
            journal.write(self.domain(name), base.entry(HUNG_MIB << 10))
        self.stop_all()

    def shrink(self) -> None:
        """Have memory of the guest that answers outstanding."""
        guest = self.domain(GUEST)
        journal.write(guest, base.entry(MEMORY_MIB << 10))
        guest.set_balloon_kib(SHRUNK_KIB)
        _, handle = virt.find(GUEST)
        self.wait_until(
            'the balloon has reached its target',
            lambda: handle.memoryStats()['actual'] <= SHRUNK_KIB,
        )

    def assert_whole_within_an_interval(self) -> None:
        """Wait for the guest that answers."""
        self.wait_until(
            f'{GUEST} has all its memory',
            lambda: not self.is_outstanding(GUEST),
            INTERVAL_SECONDS,
        )
        _, handle = virt.find(GUEST)
        self.assertEqual(MEMORY_MIB << 10, handle.memoryStats()['actual'])

    def is_outstanding(self, name: str) -> bool:
        """Return whether a guest has an entry."""
        return self.domain(name).read_metadata() is not None

    def test_nobody_waits_for_them(self) -> None:
        self.shrink()
        with subprocess.Popen(
            [sys.executable, '-c', _RECONCILER], stdout=subprocess.PIPE
        ) as killed:
            self.addCleanup(killed.kill)
            assert killed.stdout is not None
            killed.stdout.readline()
            self.assert_whole_within_an_interval()
            self.assert_nova_is_answered()
            killed.kill()
        # They are known to hang now, and asked no more.
        self.shrink()
        restorer = make_reconciler(self.host)
        self.addCleanup(restorer.stop)
        restorer.start()
        self.assert_whole_within_an_interval()
        self.assert_nova_is_answered()
        self.wait_until('no worker is left', lambda: not workers())
        for name in HUNG:
            self.assertTrue(self.is_outstanding(name))
        self.continue_all()
        self.wait_until(
            'those that answer again have theirs',
            lambda: not any(self.is_outstanding(name) for name in HUNG),
            INTERVAL_SECONDS,
        )


class LeaveTest(HungTestCase):
    """They are to leave, and it is to be decided what they release."""

    def setUp(self) -> None:
        super().setUp()
        self.connections = hosts.Connections(
            self.host.libvirt, spare=1, most=len(HUNG)
        )

    def decide(self, name: str) -> states.State:
        """Prepare a migration, as nova-compute's driver does."""
        with self.connections.host() as host:
            migration = source.SourceMigration(
                host.guest(self.nova.lookupByName(name).UUIDString()),
                base.host_engine(),
                mock.create_autospec(reporters.Reporter, instance=True),
                decision.Migration(
                    uuid='the migration',
                    host=self.host.name,
                    dest='freemem-host2',
                ),
                clocks.Clock(),
                lambda _known: True,
            )
            return migration.prepare()

    def is_occupied(self, name: str) -> bool:
        """Return whether libvirt waits for an answer of a guest's QEMU."""
        _, handle = virt.find(name)
        return handle.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED

    def test_nobody_waits_for_their_migrations(self) -> None:
        self.stop_all()
        with futures.ThreadPoolExecutor(len(HUNG)) as pool:
            decisions = [pool.submit(self.decide, name) for name in HUNG]
            try:
                self.wait_until(
                    'each of them is being asked',
                    lambda: all(self.is_occupied(name) for name in HUNG),
                )
                self.assert_nova_is_answered()
            finally:
                self.continue_all()
        for decided in decisions:
            self.assertIsInstance(decided.result(), states.Skipped)

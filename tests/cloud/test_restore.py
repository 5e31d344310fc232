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

"""Guests of one host get their memory back, whatever happens to libvirt."""

import contextlib
import functools
from typing import ClassVar

import psutil

from tests.chaos.faults import emulators
from tests.cloud import base
from tests.lab import images
from tests.lab import libvirtd
from tests.lab import outstanding
from tests.lab import processes
from tests.lab import servers
from tests.lab import steps
from tests.lab import witness

_INTERVAL_SECONDS = 10
# What a balloon, and looking at it, take on a busy machine.
_BALLOON_SECONDS = 5
_LINES = f"""\
[freemem]
reconcile_interval_seconds = {_INTERVAL_SECONDS}
"""
_MEMORY_MIB = 512
_MISSING_KIB = 340 * 1024
_MOVED_KIB = 4 * 1024
_HELD_MIB = 16
# Where libvirtd keeps the state of running domains, with their metadata.
_STATE = '/run/libvirt/qemu'


class GuestsWithOutstandingMemory(base.CloudTestCase):
    """They have landed on the destination, and nova-compute starts there."""

    landed: ClassVar[list[servers.Server]] = []
    lines = _LINES

    def setUp(self) -> None:
        super().setUp()
        self.arriving = self.compute(self.destination)
        if not self.landed:
            self._boot()
        self.before = {
            server.id: self.question(server) for server in self.landed
        }

    def _boot(self) -> None:
        """Boot three servers at once, which stay until the last test."""
        done = contextlib.ExitStack()
        self.addClassCleanup(done.close)
        done.callback(self.landed.clear)
        images.flavor(self.cloud.api, _MEMORY_MIB)  # One for all three.
        self.landed.extend(
            steps.in_parallel(
                *(functools.partial(self._boot_one, name) for name in 'abc')
            )
        )
        for server in self.landed:
            done.callback(self.cloud.delete, server)

    def _boot_one(self, name: str) -> servers.Server:
        server = self.cloud.boot(
            f'restored-{name}',
            _MEMORY_MIB,
            reporting=False,
            host=self.destination.name,
        )
        self.cloud.guest(server).hold(_HELD_MIB)
        return server

    def _take(self, chosen: list[servers.Server]) -> None:
        """End nova-compute, and take memory of some guests."""
        self.arriving.stop()
        for server in chosen:
            domain = self.cloud.guest(server).domain
            outstanding.take(domain, self.source.name, _MISSING_KIB)

    def test_libvirtd_restarts_while_three_of_them_are_restored(self) -> None:
        least_kib = _MEMORY_MIB * 1024 - _MISSING_KIB
        guests = [self.cloud.guest(server) for server in self.landed]
        daemon = libvirtd.daemon(
            self.destination.layout, self.destination.prefix
        )
        process = psutil.Process(daemon.pid)
        self._take(self.landed)
        # Not waited for: Nova 34's can wait for itself from then on.
        self.addCleanup(self.arriving.start, self.cloud.api)
        self.addCleanup(processes.kill, self.arriving.daemon.pid_file)
        self.arriving.launch()
        pid = self.arriving.daemon.pid
        steps.wait_for(
            lambda: any(
                guest.balloon_kib() > least_kib + _MOVED_KIB
                for guest in guests
            ),
            'memory of the first guest',
            60,
            0.01,
        )
        process.kill()  # At once: they are whole in a second.
        processes.kill(daemon.pid_file)
        entries = self.destination.run(
            ['sh', '-c', f'grep -l outstanding {_STATE}/*.xml'],
            check=False,
        )
        daemon.start()
        self.assertEqual(3, len(entries.stdout.split()), entries)
        for server in self.landed:
            self._assert_whole_soon(server)
        self.assertEqual(pid, self.arriving.daemon.pid)

    def test_a_guest_whose_qemu_hangs_keeps_no_other_waiting(self) -> None:
        hung, other, _ = self.landed
        self._take([hung, other])
        qemu = emulators.find(self.destination, hung.id)
        qemu.suspend()
        self.addCleanup(qemu.resume)
        self.arriving.start(self.cloud.api)
        self._assert_whole_soon(other)
        self.assertIsNotNone(self.entry(hung))
        qemu.resume()
        self._assert_whole_soon(hung)

    def _assert_whole_soon(self, server: servers.Server) -> None:
        """Fail unless a guest is whole within one interval."""
        self.wait_until(
            'the end of the journal entry',
            lambda: self.entry(server) is None,
            _INTERVAL_SECONDS + _BALLOON_SECONDS,
        )
        now = self.question(server)
        before = self.before[server.id]
        wrong = witness.changes(before, now) + witness.losses(before, now)
        self.assertEqual([], wrong)

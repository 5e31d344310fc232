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

"""Memory of a guest that the host has swapped out is not free."""

import pathlib
import subprocess

import fixtures
import psutil

from nova_freemem.virt import swap
from tests import base

UUID = 'fdeb45b5-9f7f-4053-adb5-030a7082bd55'

STATUS = """\
Name:\tqemu-system-x86
VmRSS:\t  226812 kB
RssShmem:\t       0 kB
VmSwap:\t 1048576 kB
Threads:\t5
"""


class SwapTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.memory = self.patch_autospec(psutil, 'swap_memory')
        self.memory.return_value.used = 1 << 30
        self.patch(swap, '_processes', {})
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def start(self, name: str) -> subprocess.Popen[str]:
        """:returns: a program of this name, which waits."""
        program = self.folder / name
        if not program.exists():
            program.symlink_to('/bin/sh')
        process = subprocess.Popen(
            [program, '-c', 'echo; read line', '-uuid', UUID],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        # Its name and command line are not there before it runs.
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def test_it_is_what_the_kernel_says_of_its_process(self) -> None:
        self.assertEqual(1048576, swap.vm_swap_kib(STATUS))
        self.assertEqual(0, swap.vm_swap_kib('Name:\tkthreadd\n'))

    def test_a_guest_is_found_again_when_it_comes_back(self) -> None:
        read = self.patch_autospec(swap, 'vm_swap_kib', return_value=7)
        for _ in range(2):
            process = self.start('qemu-system-x86_64')
            for _ in range(2):
                self.assertEqual(7, swap.swapped_kib(UUID))
            self.assertIn(f'\nPid:\t{process.pid}\n', read.call_args.args[0])
            process.kill()
            process.communicate()

    def test_it_is_not_what_another_program_names(self) -> None:
        # Whose command line nobody reads: it may hang in the kernel.
        self.start('python3')
        self.assertIsNone(swap._find(UUID))
        process = self.start('kvm')
        found = swap._find(UUID)
        assert found is not None
        self.assertEqual(process.pid, found.pid)

    def test_a_guest_that_cannot_be_seen_has_none(self) -> None:
        self.assertEqual(0, swap.swapped_kib(UUID))

    def test_nobody_is_looked_for_where_nothing_is_swapped_out(self) -> None:
        self.memory.return_value.used = 0
        look = self.patch_autospec(psutil, 'pids')
        self.assertEqual(0, swap.swapped_kib(UUID))
        look.assert_not_called()

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

"""A whole Debian: what its kernel and its agent report to the plugin."""

from concurrent import futures

import libvirt

from nova_freemem import clock as clocks
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.virt import guest as guests
from tests.lab import debian
from tests.lab import network
from tests.lab import room
from tests.lab import virt
from tests.libvirt import base

NAME = 'lab-debian'
MEMORY_MIB = 1024
CACHE_MIB = 100
NODES = 2

# So that the transfer does not end by itself.
SLOW_MBIT = 50


class DebianTest(base.RoomTestCase):
    """A guest with two NUMA nodes, systemd and a real agent."""

    specs = (
        virt.GuestSpec(
            NAME,
            MEMORY_MIB,
            system=debian.Debian('bookworm-backports'),
            nodes=NODES,
        ),
    )

    def setUp(self) -> None:
        super().setUp()
        self.clock = clocks.Clock()

    def acquired(self) -> FreeMemory:
        handle = self.guest(NAME).domain
        memory = guest_agent.GuestAgent('guest_agent', 5).acquire(
            guests.Guest(handle), self.clock, clocks.Deadline(self.clock, 60)
        )
        memory.check(MEMORY_MIB << 10)
        return memory

    def have(self, command: str) -> None:
        """Have the guest's shell run a command."""
        self.guest(NAME).do('sh', '-c', command)

    def test_each_node_is_reported(self) -> None:
        memory = self.acquired()
        self.assertEqual(NODES, len(memory.nodes))
        self.assertAlmostEqual(
            memory.free_kib,
            sum(node.free_kib for node in memory.nodes),
            delta=16 << 10,
        )

    def test_a_guest_that_does_not_overcommit_reports_its_limit(self) -> None:
        self.assertIsNone(self.acquired().commit)
        self.have('echo 2 > /proc/sys/vm/overcommit_memory')
        self.addCleanup(self.have, 'echo 0 > /proc/sys/vm/overcommit_memory')
        commit = self.acquired().commit
        self.assertIsNotNone(commit)
        self.assertEqual(
            self.guest(NAME).meminfo()['CommitLimit'], commit.limit_kib
        )
        # vm.overcommit_ratio is 50 unless somebody changes it.
        self.assertAlmostEqual(0.5, commit.share, places=2)

    def test_hot_cache_is_not_called_cold_by_either_lru(self) -> None:
        guest = self.guest(NAME)
        for generations, cold in (('n', True), ('y', False)):
            self.have(f'echo {generations} > /sys/kernel/mm/lru_gen/enabled')
            self.addCleanup(
                self.have, 'echo n > /sys/kernel/mm/lru_gen/enabled'
            )
            self.have('sync; echo 3 > /proc/sys/vm/drop_caches')
            guest.fill_cache(CACHE_MIB)
            found = self.acquired().cold_cache_kib
            self.assertEqual(cold, found > (CACHE_MIB - 20) << 10, found)
            for _number in range(3):
                self.have('cat /data/cache > /dev/null')
            found = self.acquired().cold_cache_kib
            self.assertLess(found, (CACHE_MIB // 2) << 10)

    def test_a_process_that_is_killed_during_the_transfer_is_counted(
        self,
    ) -> None:
        # Linux 6.12 reports it; libvirt has no name for it.
        _, handle = virt.find(NAME)
        domain = guests.Guest(handle)
        domain.set_stats_period_seconds(1)
        self.addCleanup(domain.set_stats_period_seconds, 10)
        before = domain.oom_kills()
        self.assertIsNotNone(before)
        network.set_link(SLOW_MBIT)
        self.addCleanup(network.set_link, room.LINK_MBIT)
        with futures.ThreadPoolExecutor() as pool:
            transfer = pool.submit(virt.migrate, handle, self.other_host(NAME))
            self.wait_until(
                'memory is sent',
                lambda: (
                    domain.outgoing_migration()
                    is guests.Outgoing.SENDING_MEMORY
                ),
            )
            self.have(
                'mkdir -p /sys/fs/cgroup/small; cd /sys/fs/cgroup/small;'
                ' echo 32M > memory.max; echo $$ > cgroup.procs;'
                ' tail /dev/zero || true'
            )
            self.wait_until(
                'the guest reports it',
                lambda: domain.oom_kills() == before + 1,
            )
            handle.abortJob()
            self.assertIsInstance(transfer.exception(), libvirt.libvirtError)

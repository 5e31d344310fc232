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

"""The hosts share no disks: libvirt copies them before it sends memory."""

from collections.abc import Sequence

import libvirt

from tests.cloud import base
from tests.lab import comparison
from tests.lab import episode
from tests.lab import network
from tests.lab import room
from tests.lab import servers
from tests.lab.observation import Sample

_MEMORY_MIB, _FREED_MIB = 1024, 700
_DISK_MIB = 512
_KIB_PER_MIB = 1024

# Slow enough for the guest to take memory while its disk is copied.
_SLOW_MBIT = 50
_TAKEN_MIB = 500

# By what is assumed of a guest, it releases what it has freed in this time.
_RELEASE_SECONDS = 2.0


class HostsThatShareNoDisks(base.CloudTestCase):
    """Each has a folder of its own, so that disks migrate as well.

    The second releases nothing: a guest comes back from it as it does without
    the plugin.
    """

    own_disks = True
    destination_lines = base.RELEASES_NOTHING

    def boot_with_disk(self) -> servers.Server:
        """Boot a server that has freed memory, and has 512 MiB on its disk."""
        server = self.boot_used(_MEMORY_MIB, _FREED_MIB)
        self.cloud.guest(server).fill_disk(_DISK_MIB)
        return server


class ServerWithFreeMemoryAndADisk(HostsThatShareNoDisks):
    """It has freed 700 of its 1024 MiB; its disk has 512 MiB on it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_with_disk()

    def test_its_memory_is_released_as_the_last_of_its_disk_is_copied(
        self,
    ) -> None:
        self.set_link(base.SLOW_LINK_MBIT)
        ours, looks = self._leave('with a release')
        plain, _ = self._leave('without a release')
        what = f'{ours}, instead of {plain}'
        self.assertTrue(ours.guest_intact, what)
        self.assertLessEqual(ours.seconds_total, plain.seconds_total, what)
        # The disk is the same; of memory, what the guest has freed is left
        # out.
        saved_mib = (plain.bytes_sent - ours.bytes_sent) >> 20
        self.assertGreater(saved_mib, 0.5 * _FREED_MIB, what)
        self._assert_kept_its_memory(looks, ours.balloon_before_kib)

    def _leave(self, name: str) -> tuple[comparison.Run, Sequence[Sample]]:
        """Let the guest use memory and free it, and go to the other host."""
        played = episode.play(self.cloud, self.server, _FREED_MIB, name)
        self.assertEqual((), played.wrong)
        return played.run, [
            look
            for look in played.observation.source
            if look.job_seconds is not None and look.balloon_kib is not None
        ]

    def _assert_kept_its_memory(
        self, looks: Sequence[Sample], original_kib: int
    ) -> None:
        """Fail unless the release began at the very end of the copy."""
        copying = [
            (look.balloon_kib or 0, (look.disks_left_bytes or 0) >> 20)
            for look in looks
            if not look.job_bytes
        ]
        self.assertGreater(
            max(left_mib for _kib, left_mib in copying), 0.9 * _DISK_MIB
        )
        when_short = [
            left_mib
            for balloon_kib, left_mib in copying
            if balloon_kib < original_kib - _KIB_PER_MIB
        ]
        self.assertTrue(when_short, 'it was released after the copy')
        path_mib_per_second = base.SLOW_LINK_MBIT * 1e6 / 8 / (1 << 20)
        self.assertLess(
            max(when_short),
            2 * _RELEASE_SECONDS * path_mib_per_second,
            when_short,
        )


class ServerThatNeedsItsMemoryDuringTheCopy(HostsThatShareNoDisks):
    """What it has freed when it leaves, it uses when its disk is copied."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_with_disk()
        self.before = self.question(self.server)

    def test_it_gets_it_and_keeps_it(self) -> None:
        self.set_link(_SLOW_MBIT)
        guest = self.cloud.guest(self.server)
        started = self.cloud.begin_migration(self.server)
        self.wait_until('the copy of its disk', self._is_copying)
        guest.fill_dirty(_TAKEN_MIB, free=False)
        self.assertTrue(self._is_copying())
        self.assertEqual(_MEMORY_MIB * _KIB_PER_MIB, guest.balloon_kib())
        network.set_link(room.LINK_MBIT)
        migration = self.cloud.finish_migration(self.server, started)

        self.assertEqual('completed', migration.status)
        self.assert_whole(self.server, self.before)
        guest = self.cloud.guest(self.server)
        self.assertEqual(0, guest.exec(['pidof', 'dirty']).exit_code)
        log = '\n'.join(self.log_of(self.source, self.server))
        self.assertNotIn('memory pressure', log)

    def _is_copying(self) -> bool:
        domain = self.source.libvirt().lookupByUUIDString(self.server.id)
        job = domain.jobStats()
        return bool(
            job.get(libvirt.VIR_DOMAIN_JOB_DISK_REMAINING)
            and not job.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PROCESSED)
        )

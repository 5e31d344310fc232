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

"""What libvirt and the guest are asked for, for each way to migrate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

import ddt
import libvirt

from tests import base
from tests.bench import base as bench_base
from tests.bench import matrix
from tests.bench import methods
from tests.bench import migration as migrations
from tests.bench import peers
from tests.bench.tests.runs import libvirt_error
from tests.lab import guest as lab_guest
from tests.lab import steps
from tests.lab import virt

GIB = 1 << 20  # In KiB.


class PeerTestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.domain = mock.create_autospec(libvirt.virDomain, instance=True)
        self.migration = mock.create_autospec(
            migrations.Migration, instance=True
        )
        self.migration.domain = self.domain
        self.migration.memory_kib = 4 * GIB

    def migrate(self, name: str) -> None:
        method = peers.MAKE[name]()
        method.at_source(self.migration)
        method.landed(self.migration)
        method.at_destination(self.migration)

    def unable(self, name: str) -> str:
        with self.assertRaises(bench_base.Unable) as refusal:
            self.migrate(name)
        return refusal.exception.why


class KitTest(base.TestCase):
    def test_each_method_of_the_command_line_can_be_made(self) -> None:
        kit = methods.kit(1000, 'host2')
        self.assertEqual(set(matrix.METHODS), set(kit.make))
        for make in kit.make.values():
            self.assertIsInstance(make(), bench_base.Method)


@ddt.ddt
class AskedTest(PeerTestCase):
    @ddt.unpack
    @ddt.data(
        ('multifd', libvirt.VIR_MIGRATE_PARALLEL, {'parallel.connections': 2}),
        (
            'multifd+zstd',
            libvirt.VIR_MIGRATE_PARALLEL | libvirt.VIR_MIGRATE_COMPRESSED,
            {'parallel.connections': 2, 'compression': 'zstd'},
        ),
        (
            'xbzrle',
            libvirt.VIR_MIGRATE_COMPRESSED,
            {
                'compression': 'xbzrle',
                'compression.xbzrle.cache': 512 << 20,
            },
        ),
        ('auto-converge', libvirt.VIR_MIGRATE_AUTO_CONVERGE, {}),
        ('post-copy', libvirt.VIR_MIGRATE_POSTCOPY, {}),
    )
    def test_libvirt_is_asked_for_it(
        self, name: str, flags: int, settings: Mapping[str, Any]
    ) -> None:
        self.migrate(name)
        self.migration.transfer.assert_called_once_with(
            virt.Way(flags, settings)
        )

    def test_what_libvirt_refuses_is_no_failed_run(self) -> None:
        error = libvirt_error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED)
        self.migration.transfer.side_effect = error
        self.assertEqual(str(error), self.unable('multifd+zstd'))

    def test_what_goes_wrong_is_a_failed_run(self) -> None:
        error = libvirt_error(libvirt.VIR_ERR_OPERATION_FAILED)
        self.migration.transfer.side_effect = error
        with self.assertRaises(libvirt.libvirtError):
            self.migrate('multifd+zstd')


class PostCopyTest(PeerTestCase):
    def test_the_guest_is_switched_over_as_soon_as_libvirt_lets_it(
        self,
    ) -> None:
        self.patch(peers, '_SWITCH_SECONDS', 0.0)
        not_yet = libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID)
        self.domain.migrateStartPostCopy.side_effect = [
            *(not_yet, not_yet),
            None,
        ]
        self.migration.transfer.side_effect = lambda _way: steps.wait_for(
            lambda: self.domain.migrateStartPostCopy.call_count == 3,
            'the switch',
            10,
            0.001,
        )
        self.migrate('post-copy')
        self.assertEqual(3, self.domain.migrateStartPostCopy.call_count)

    def test_a_transfer_that_ends_first_is_not_switched(self) -> None:
        self.patch(peers, '_SWITCH_SECONDS', 3600.0)
        self.migrate('post-copy')
        self.domain.migrateStartPostCopy.assert_not_called()


class FreePageHintTest(PeerTestCase):
    def test_its_guest_has_a_balloon_that_hints(self) -> None:
        spec = virt.GuestSpec('guest', 4096)
        self.assertFalse(bench_base.Plain().spec(spec).hints)
        self.assertTrue(peers.FreePageHint().spec(spec).hints)


class FixedMinimumTest(PeerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(peers, '_BALLOON_LOOK_SECONDS', 0.0)
        self.stats = {'actual': 4 * GIB, 'usable': 3 * GIB + GIB // 2}
        self.domain.memoryStats.side_effect = lambda: self.stats
        self.domain.setMemory.side_effect = self.shrink

    def shrink(self, kib: int) -> None:
        self.stats = {**self.stats, 'actual': kib}

    def test_a_guest_is_a_quarter_as_large_while_it_migrates(self) -> None:
        sizes: list[int] = []
        self.migration.transfer.side_effect = lambda: sizes.append(
            self.stats['actual']
        )
        self.migrate('fixed-minimum')
        self.assertEqual([GIB], sizes)
        self.migration.arrived().setMemoryFlags.assert_called_once_with(
            4 * GIB,
            libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        )

    def test_a_guest_that_uses_more_is_not_shrunk(self) -> None:
        self.stats['usable'] = 3 * GIB - 1024
        self.assertIn('uses 1025 MiB', self.unable('fixed-minimum'))
        self.domain.setMemory.assert_not_called()

    def test_a_guest_that_does_not_shrink_is_not_waited_for_forever(
        self,
    ) -> None:
        self.patch(peers, '_BALLOON_SECONDS', 0.01)
        self.domain.setMemory.side_effect = None
        self.assertIn('does not shrink', self.unable('fixed-minimum'))
        self.migration.transfer.assert_not_called()


class GuestReclaimTest(PeerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.exec = self.patch_autospec(lab_guest.Guest, 'exec')
        self.exec.return_value = lab_guest.Finished(0, '', '')

    def test_cache_is_dropped_and_the_guest_migrated(self) -> None:
        calls = mock.Mock()
        calls.attach_mock(self.exec, 'exec')
        calls.attach_mock(self.migration.transfer, 'transfer')
        self.migrate('guest-reclaim')
        self.assertEqual(
            ['exec', 'transfer'], [call[0] for call in calls.method_calls]
        )

    def test_dropping_is_in_vain_where_free_pages_are_not_reported(
        self,
    ) -> None:
        method = peers.GuestReclaim()
        reporting = virt.GuestSpec('guest', 4096, reporting=True)
        self.assertEqual(reporting, method.spec(reporting))
        with self.assertRaisesRegex(bench_base.Unable, 'does not report'):
            method.spec(virt.GuestSpec('guest', 4096))

    def test_a_kernel_that_cannot_drop_is_shown(self) -> None:
        self.exec.return_value = lab_guest.Finished(3, '', '')
        self.assertIn('no memory.reclaim', self.unable('guest-reclaim'))
        self.migration.transfer.assert_not_called()

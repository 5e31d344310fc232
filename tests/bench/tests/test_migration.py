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

"""A measured migration ends with the guest at the destination, or fails."""

from __future__ import annotations

import threading
from unittest import mock

import libvirt

from tests import base
from tests.bench import base as bench_base
from tests.bench import migration
from tests.bench import peers
from tests.bench import reserve
from tests.bench.tests.runs import libvirt_error
from tests.lab import host as lab_host
from tests.lab import steps
from tests.lab import virt

MEMORY_KIB = 4096
ARRIVING = (
    libvirt.VIR_DOMAIN_PAUSED,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
)
RUNNING = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED)


class MigrationTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.domain = mock.create_autospec(libvirt.virDomain, instance=True)
        self.domain.state.return_value = ARRIVING
        self.domain.memoryStats.return_value = {'actual': MEMORY_KIB}
        destination = mock.create_autospec(lab_host.Host, instance=True)
        # Which never tells of an event.
        destination.libvirt.return_value = mock.create_autospec(
            libvirt.virConnect, instance=True
        )
        destination.libvirt().lookupByUUIDString.return_value = self.domain
        self.migrate = self.patch_autospec(virt, 'migrate')
        self.patch(migration, '_LANDING_SECONDS', 0.1)
        self.destination = destination
        self.measured = self.measure()

    def measure(self, **figures: float) -> migration.Migration:
        return migration.Migration(
            self.domain,
            mock.create_autospec(lab_host.Host, instance=True),
            self.destination,
            MEMORY_KIB,
            mock.create_autospec(reserve.Reserve, instance=True),
            **figures,
        )

    def land(self, *_args: object) -> None:
        self.domain.state.return_value = RUNNING

    def test_a_landing_that_libvirt_does_not_tell_of_is_measured(
        self,
    ) -> None:
        self.patch(migration, '_LANDING_SECONDS', 10.0)
        self.migrate.side_effect = self.land
        self.measured.run(bench_base.Plain())
        self.assertGreater(self.measured.landed_at, self.measured.asked_at)
        self.assertIsNotNone(self.measured.back_seconds)

    def test_a_guest_that_never_runs_at_the_destination_is_a_failure(
        self,
    ) -> None:
        with self.assertRaisesRegex(steps.LabError, 'wait for the landing'):
            self.measured.run(bench_base.Plain())

    def test_a_transfer_that_seems_never_to_end_is_aborted(self) -> None:
        self.measured = self.measure(patience_seconds=0.01)
        aborted = threading.Event()
        self.domain.abortJob.side_effect = aborted.set

        def transfer(*_args: object) -> None:
            self.assertTrue(aborted.wait(10.0))
            raise libvirt_error(libvirt.VIR_ERR_OPERATION_ABORTED)

        self.migrate.side_effect = transfer
        with self.assertRaisesRegex(bench_base.Unable, 'has not ended'):
            self.measured.run(bench_base.Plain())

    def test_a_transfer_that_ends_is_not_aborted(self) -> None:
        self.patch(migration, '_LANDING_SECONDS', 10.0)
        self.measured = self.measure(patience_seconds=0.01)
        timers = self.patch_autospec(threading, 'Timer')
        self.migrate.side_effect = self.land
        self.measured.run(bench_base.Plain())
        timers.return_value.cancel.assert_called_once_with()

    def test_another_error_of_libvirt_is_a_failure(self) -> None:
        self.migrate.side_effect = libvirt_error(libvirt.VIR_ERR_RPC)
        with self.assertRaises(libvirt.libvirtError):
            self.measured.run(bench_base.Plain())

    def test_memory_that_comes_after_the_guest_counts(self) -> None:
        self.patch(migration, '_LANDING_SECONDS', 10.0)
        self.migrate.side_effect = self.land
        self.measured.run(bench_base.Plain())
        self.assertEqual(self.measured.landed_at, self.measured.ended_at)

        def land_early(*_args: object) -> None:
            self.land()
            self.measured._observer.look_at_state('destination')
            self.assertTrue(self.measured._observer.wait_landed(10.0))

        self.domain.state.return_value = ARRIVING
        self.measured = self.measure()
        self.migrate.side_effect = land_early
        self.measured.run(peers.PostCopy())
        self.assertGreater(self.measured.ended_at, self.measured.landed_at)

    def test_memory_that_is_not_restored_has_no_time_of_it(self) -> None:
        self.patch(migration, '_LANDING_SECONDS', 10.0)
        self.patch(migration, '_BACK_SECONDS', 0.2)
        self.domain.memoryStats.return_value = {'actual': MEMORY_KIB - 1}
        self.migrate.side_effect = self.land
        self.measured.run(bench_base.Plain())
        self.assertIsNone(self.measured.back_seconds)

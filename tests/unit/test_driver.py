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

"""Our part in the steps of Nova's live migration."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import pathlib
import threading
from typing import Any
from unittest import mock

import fixtures
from nova import context
from nova import objects
from nova.compute import provider_tree
import nova.conf
from nova.objects import migrate_data as migrate_data_objects
from nova.virt import event
from nova.virt.libvirt import driver as nova_driver
from nova.virt.libvirt import guest as nova_guest
from nova.virt.libvirt import host as nova_host

from nova_freemem import clock as clocks
from nova_freemem import conf_files
from nova_freemem import driver
from nova_freemem import exceptions
from nova_freemem import history as histories
from nova_freemem import policy
from nova_freemem import trait
from nova_freemem.acquire import guest_agent
from nova_freemem.migrate import engine as engines
from nova_freemem.migrate import handover
from nova_freemem.migrate import readiness
from nova_freemem.plan import backoff as backoffs
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import release_rate as release_rates
from nova_freemem.plan import transfer_meter
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.release import balloon
from nova_freemem.release import watch
from nova_freemem.report import event_queue
from nova_freemem.report import guru_meditation
from nova_freemem.restore import journal
from nova_freemem.restore import reconciler
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts
from tests import base
from tests.simulation import fakes
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

UUID = '2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d10'


def owe(guest: fakes.SimulatedGuest) -> None:
    """Take 3 of 4 GiB from a guest, and write it down."""
    guest.metadata = journal.JournalEntry(
        4 * GIB, 'source', datetime.datetime.now(datetime.UTC), UUID, 10
    ).to_xml()
    guest.actual_kib = guest.target_kib = 1 * GIB


class DriverTestCase(GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        conf = nova.conf.CONF
        conf([], default_config_files=[], default_config_dirs=[])
        conf.set_override('host', 'source')
        self.addCleanup(conf.clear_override, 'host')
        self.remembered = self.patch_autospec(histories.History, 'append')
        stock = nova_driver.LibvirtDriver
        self.stock = {
            name: self.patch_autospec(stock, name)
            for name in (
                '__init__',
                'init_host',
                'cleanup_host',
                'live_migration',
                'live_migration_abort',
                'live_migration_force_complete',
                'emit_event',
                'post_live_migration_at_destination',
                'update_provider_tree',
            )
        }
        event = objects.InstanceActionEvent
        self.event_create = self.patch_autospec(event, 'create')
        self.event_finish = self.patch_autospec(event, 'event_finish')
        self.engine = engines.Engine(
            fakes.make_policy(mode='before', migration_bandwidth_mbps=1000),
            (guest_agent.GuestAgent('guest_agent', 5),),
            balloon.Balloon(),
            bandwidths.Bandwidths(1000, '192.0.2.1'),
            release_rates.ReleaseRates(),
            backoffs.Backoff(),
        )
        self.thread = self.patch_autospec(
            threading, 'Thread', side_effect=self.clock.thread
        )
        self.patch_autospec(clocks, 'Clock', return_value=self.clock)
        self.patch_autospec(hosts, 'Connections', side_effect=self.found)
        self.destination_skip = self.patch_autospec(
            readiness.Destinations, 'skip', return_value=None
        )
        self.hypervisor = fakes.FakeHost()
        self.hypervisor.domains[UUID] = self.domain
        self.driver = driver.FreememLibvirtDriver('api', engine=self.engine)
        self.find_domain = self.patch_autospec(
            driver.FreememLibvirtDriver, '_guest', return_value=self.domain
        )
        self.context = context.RequestContext(is_admin=False)
        self.instance = objects.Instance(
            uuid=UUID,
            os_type=None,
            node='source-node',
            flavor=objects.Flavor(extra_specs={}),
            system_metadata={},
        )
        self.migrate_data = migrate_data_objects.LibvirtLiveMigrateData(
            migration=objects.Migration(uuid=UUID, dest_node='dest-node'),
            block_migration=False,
        )
        self.post, self.recover = mock.Mock(), mock.Mock()

    def found(
        self, connect: Callable[[], Any], spare: int, most: int | None = None
    ) -> mock.Mock:
        self.connect = connect
        return mock.Mock(host=self.hypervisor.lend)

    def hold(self) -> contextlib.AbstractContextManager[object]:
        """Have the guest, as a migration or a check has it."""
        return self.driver._reconciler._locks.hold(UUID)

    def events(self) -> list[str]:
        return [
            call.args[0].event for call in self.event_create.call_args_list
        ]

    def disable(self) -> None:
        """Have ``[freemem] enabled = false`` on this host."""
        self.configure(enabled=False)

    def configure(self, **options: Any) -> None:
        """Have other options on this host."""
        self.driver._engine = dataclasses.replace(
            self.driver._engine, policy=fakes.make_policy(**options)
        )

    def migrate(self) -> None:
        self.driver.live_migration(
            self.context,
            self.instance,
            'dest',
            self.post,
            self.recover,
            block_migration=True,
            migrate_data=self.migrate_data,
        )

    def assert_whole(self) -> None:
        self.guest.check()
        self.assertEqual(
            (0, None), (self.guest.missing_kib, self.guest.metadata)
        )


class LiveMigrationTest(DriverTestCase):
    def test_nova_migrates_what_is_left(self) -> None:
        missing_kib = []

        def transfer(*args: Any) -> None:
            missing_kib.append(self.guest.missing_kib)
            self.guest.host = 'dest'
            self.post(*args)

        self.stock['live_migration'].side_effect = transfer
        self.migrate()
        self.assertGreater(missing_kib[0], 2 * GIB)
        args = self.stock['live_migration'].call_args.args
        self.assertEqual(
            (self.driver, self.context, self.instance, 'dest', self.post),
            args[:5],
        )
        self.assertEqual((True, self.migrate_data), args[6:])
        self.recover.assert_not_called()
        self.assertEqual(['compute_freemem_release'], self.events())
        self.assertEqual([], self.log_lines('ERROR'))

    def test_a_guest_whose_disks_are_copied_is_left_alone_until_then(
        self,
    ) -> None:
        """Nova's own argument is what was requested, not what is done."""
        self.migrate_data.block_migration = True
        self.migrate()
        self.assertEqual(4 * GIB, self.guest.least_kib)
        self.assertEqual(1, len(self.domain.called('write_metadata')))

    def test_flavor_and_image_have_a_say(self) -> None:
        self.instance.flavor.extra_specs['freemem:enabled'] = 'false'
        self.migrate()
        self.instance.flavor.extra_specs['freemem:enabled'] = 'true'
        self.instance.system_metadata['image_freemem_enabled'] = 'false'
        self.migrate()
        self.assertEqual(
            [
                'compute_freemem_skip_disabled_by_flavor',
                'compute_freemem_skip_disabled_by_image',
            ],
            self.events(),
        )
        self.assertEqual(4 * GIB, self.guest.least_kib)
        self.assertTrue(self.driver._engine.policy.enabled_by_flavor)

    def test_a_wrong_value_changes_nothing_and_is_named(self) -> None:
        self.instance.flavor.extra_specs['freemem:mode'] = 'never'
        self.migrate()
        self.assertEqual(['compute_freemem_release'], self.events())
        self.assertEqual(
            [
                "WARNING Ignoring 'freemem:mode' of the flavor of the guest: "
                "it is 'never'; valid: auto, before, during."
            ],
            self.log_lines('WARNING'),
        )

    def test_the_journal_has_both_names_of_this_host(self) -> None:
        self.migrate()
        element = self.domain.called('write_metadata')[0][0]
        entry = journal.JournalEntry.from_xml(element)
        self.assertEqual(('source', 'source-node'), (entry.source, entry.node))

    def test_before_novas_rollback_the_memory_is_back(self) -> None:
        def fail(
            _self: Any,
            ctxt: Any,
            instance: Any,
            dest: str,
            post: Any,
            recover: Any,
            block: bool,
            data: Any,
        ) -> None:
            recover(ctxt, instance, dest, data, migration_status='error')

        self.stock['live_migration'].side_effect = fail
        self.recover.side_effect = lambda *_a, **_k: self.assert_whole()
        self.migrate()
        self.recover.assert_called_once_with(
            self.context,
            self.instance,
            'dest',
            self.migrate_data,
            migration_status='error',
        )

    def test_when_nova_raises_the_memory_is_back_and_it_raises(self) -> None:
        self.stock['live_migration'].side_effect = ZeroDivisionError
        self.assertRaises(ZeroDivisionError, self.migrate)
        self.assert_whole()

    def test_when_novas_rollback_raises_the_memory_is_back(self) -> None:
        self.stock['live_migration'].side_effect = lambda *args: args[5](
            self.context, self.instance
        )
        self.recover.side_effect = ZeroDivisionError
        self.assertRaises(ZeroDivisionError, self.migrate)
        self.assert_whole()

    def test_an_abort_while_releasing_cancels_without_a_transfer(self) -> None:
        self.clock.after(
            2, lambda: self.driver.live_migration_abort(self.instance)
        )
        self.recover.side_effect = lambda *_a, **_k: self.assert_whole()
        self.migrate()
        self.recover.assert_called_once_with(
            self.context,
            self.instance,
            'dest',
            self.migrate_data,
            migration_status='cancelled',
        )
        self.stock['live_migration'].assert_not_called()
        self.stock['live_migration_abort'].assert_not_called()
        self.assert_whole()

    def test_a_force_complete_while_releasing_starts_the_transfer(
        self,
    ) -> None:
        started_at = self.clock.now()
        self.clock.after(
            2, lambda: self.driver.live_migration_force_complete(self.instance)
        )
        self.stock['live_migration'].side_effect = lambda *_a: (
            self.assertAlmostEqual(2, self.clock.now() - started_at, delta=0.1)
        )
        self.migrate()
        self.stock['live_migration'].assert_called_once()
        self.stock['live_migration_force_complete'].assert_not_called()

    def test_requests_during_the_transfer_are_novas(self) -> None:
        def transfer(*_args: Any) -> None:
            self.guest.transferred_kib = 1
            self.clock.wait(handover.POLL_SECONDS)
            self.driver.live_migration_abort(self.instance)
            self.driver.live_migration_force_complete(self.instance)
            self.guest.transferred_kib = None

        self.stock['live_migration'].side_effect = transfer
        self.migrate()
        for name in ('live_migration_abort', 'live_migration_force_complete'):
            self.stock[name].assert_called_once_with(
                self.driver, self.instance
            )

    def test_requests_without_a_migration_of_ours_are_novas(self) -> None:
        self.driver.live_migration_abort(self.instance)
        self.driver.live_migration_force_complete(self.instance)
        self.assertEqual(1, self.stock['live_migration_abort'].call_count)
        self.assertEqual(
            1, self.stock['live_migration_force_complete'].call_count
        )

    def test_a_request_reaches_its_own_guest_alone(self) -> None:
        other = objects.Instance(uuid=UUID.replace('2c', '3d'))
        self.clock.after(2, lambda: self.driver.live_migration_abort(other))
        self.migrate()
        self.stock['live_migration_abort'].assert_called_once_with(
            self.driver, other
        )
        self.stock['live_migration'].assert_called_once()

    def test_prometheus_sees_a_release_where_a_file_is_named(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.assertEqual([], list(folder.iterdir()))
        file = folder / 'nova_freemem.prom'
        self.engine = dataclasses.replace(
            self.engine,
            policy=dataclasses.replace(
                self.engine.policy, metrics_file=str(file)
            ),
        )
        self.driver = driver.FreememLibvirtDriver('api', engine=self.engine)
        self.driver.init_host('source')
        self.clock.wait(1)
        self.assertIn('nova_freemem_outstanding_guests 0.0', file.read_text())
        self.migrate()
        self.driver._records.flush()
        self.assertIn('outcome="released",reason=""} 1.0', file.read_text())

    def test_a_later_migration_of_the_guest_is_not_forgotten(self) -> None:
        # It came back while the steps of the first were still under way.
        later = mock.Mock()

        def transfer(*args: Any) -> None:
            self.driver._migrations[UUID] = later
            self.driver._handovers[UUID] = later

        self.stock['live_migration'].side_effect = transfer
        self.migrate()
        self.assertEqual({UUID: later}, self.driver._migrations)
        self.assertEqual({UUID: later}, self.driver._handovers)

    def test_nothing_is_remembered_of_a_migration_that_ended(self) -> None:
        for effect in (None, ZeroDivisionError):
            self.stock['live_migration'].side_effect = effect
            with contextlib.suppress(ZeroDivisionError):
                self.migrate()
            self.assertEqual({}, self.driver._migrations)
            self.assertEqual({}, self.driver._handovers)

    def test_a_guest_is_asked_over_a_connection_that_is_given_back(
        self,
    ) -> None:
        lent: list[int] = []

        def fail(*_args: Any) -> None:
            lent.append(self.hypervisor.lent)
            raise ZeroDivisionError

        self.stock['live_migration'].side_effect = fail
        self.assertRaises(ZeroDivisionError, self.migrate)
        self.assertEqual([1], lent)
        self.assertEqual(0, self.hypervisor.lent)
        self.find_domain.assert_not_called()

    def test_without_a_connection_of_its_own_nothing_is_released(
        self,
    ) -> None:
        self.hypervisor.fault = fakes.libvirt_error(
            exceptions.LibvirtError, 'all 20 connections are in use'
        )

        def transfer(*_args: Any) -> None:
            self.guest.transferred_kib = 1
            self.driver.live_migration_abort(self.instance)
            self.clock.wait(1)
            self.guest.transferred_kib = None

        self.stock['live_migration'].side_effect = transfer
        self.migrate()
        self.assertEqual([], self.domain.called('write_metadata'))
        (line,) = self.log_lines('ERROR')
        self.assertIn('all 20 connections are in use', line)
        self.assertIn('continues as Nova does it', line)
        # How far the transfer is Nova's own connection tells then.
        self.stock['live_migration_abort'].assert_called_once_with(
            self.driver, self.instance
        )

    def test_an_error_of_ours_leaves_the_migration_to_nova(self) -> None:
        self.hypervisor.fault = ZeroDivisionError()
        self.migrate()
        self.stock['live_migration'].assert_called_once_with(
            self.driver,
            self.context,
            self.instance,
            'dest',
            self.post,
            self.recover,
            True,
            self.migrate_data,
        )
        (line,) = self.log_lines('ERROR')
        self.assertIn('continues as Nova does it', line)

    def test_a_migration_without_record_is_left_to_nova(self) -> None:
        self.migrate_data = migrate_data_objects.LibvirtLiveMigrateData()
        self.migrate()
        self.stock['live_migration'].assert_called_once()

    def test_a_fault_at_any_call_never_reaches_nova(self) -> None:
        for request in (
            None,
            self.driver.live_migration_abort,
            self.driver.live_migration_force_complete,
        ):
            for call in range(1, 60):
                self.stock['live_migration'].reset_mock()
                self.recover.reset_mock()
                self.domain.calls.clear()
                self.domain.fault_at = {call: RuntimeError('ours')}
                if request is not None:
                    self.clock.after(
                        3,
                        lambda request=request: request(self.instance),
                    )
                self.migrate()
                self.clock.wait(60)
                self.assertEqual(
                    1,
                    self.stock['live_migration'].call_count
                    + self.recover.call_count,
                )
                self.domain.fault_at.clear()
                self.migrate()
                self.assert_whole()

    def test_nothing_is_released_where_it_is_not_enabled(self) -> None:
        self.disable()
        self.stock['live_migration'].side_effect = lambda *_a: self.clock.wait(
            1
        )
        self.migrate()
        self.stock['live_migration'].assert_called_once()
        self.assertEqual([], self.domain.called('set_balloon_kib'))
        self.assertEqual([], self.domain.called('write_metadata'))
        self.assertEqual(
            ['compute_freemem_skip_disabled_by_host'], self.events()
        )
        (line,) = self.log_lines('INFO')
        self.assertIn("See 'disabled_by_host' in the operations guide", line)

    def test_nothing_is_released_for_a_destination_that_is_not_ready(
        self,
    ) -> None:
        self.destination_skip.return_value = Skip(
            Reason.DESTINATION_NOT_READY, 'of the test'
        )
        self.stock['live_migration'].side_effect = lambda *_a: self.clock.wait(
            1
        )
        self.migrate()
        self.destination_skip.assert_called_once_with(
            self.driver._destinations, 'dest-node'
        )
        self.stock['live_migration'].assert_called_once()
        self.assertEqual([], self.domain.called('set_balloon_kib'))
        self.assertEqual([], self.domain.called('write_metadata'))
        self.assertEqual([], self.domain.called('set_stats_period'))
        self.assertEqual(
            ['compute_freemem_skip_destination_not_ready'], self.events()
        )

    def test_a_migration_without_a_node_goes_by_the_hosts_name(self) -> None:
        self.migrate_data.migration.dest_node = None
        self.migrate()
        self.destination_skip.assert_called_once_with(
            self.driver._destinations, 'dest'
        )

    def test_an_operator_may_release_for_any_destination(self) -> None:
        self.configure(mode='before', require_destination_trait=False)
        self.migrate()
        self.destination_skip.assert_not_called()
        self.assertEqual(['compute_freemem_release'], self.events())

    def test_where_nothing_is_released_anyway_placement_is_not_asked(
        self,
    ) -> None:
        self.disable()
        self.migrate()
        self.destination_skip.assert_not_called()

    def test_a_guest_that_is_being_restored_is_skipped(self) -> None:
        with self.hold():
            self.migrate()
        self.stock['live_migration'].assert_called_once_with(
            self.driver,
            self.context,
            self.instance,
            'dest',
            self.post,
            self.recover,
            True,
            self.migrate_data,
        )
        self.assertLessEqual(
            {name for name, *_args in self.domain.calls},
            {'outgoing_migration'},
        )
        self.assertEqual(
            ['compute_freemem_skip_outstanding_memory'], self.events()
        )

    def test_what_cannot_be_restored_now_the_reconciler_restores(
        self,
    ) -> None:
        self.driver.init_host('source')

        def fail(*_args: Any) -> None:
            calls = len(self.domain.calls)
            self.domain.fault_at = dict.fromkeys(
                range(calls + 1, calls + 40),
                fakes.libvirt_error(exceptions.DomainBusy, 'busy'),
            )
            raise ZeroDivisionError

        self.stock['live_migration'].side_effect = fail
        self.assertRaises(ZeroDivisionError, self.migrate)
        self.assertGreater(self.guest.missing_kib, 0)
        self.domain.fault_at.clear()
        self.clock.wait(7)
        self.assert_whole()


class ChangedOptionsTest(DriverTestCase):
    """An operator changes options, and sends SIGHUP."""

    def follow(self, **options: Any) -> None:
        """Have Nova say that it has read its files again."""
        with mock.patch.object(
            policy.Policy,
            'from_conf',
            autospec=True,
            return_value=fakes.make_policy(**options),
        ):
            self.driver._follow_options('conf', {})

    def fail(self, error: Exception) -> None:
        """Have it say so where the options cannot be read."""
        with mock.patch.object(
            policy.Policy, 'from_conf', autospec=True, side_effect=error
        ):
            self.driver._follow_options('conf', {})

    def test_a_migration_that_has_begun_goes_on_as_it_began(self) -> None:
        self.destination_skip.side_effect = lambda *_args: self.follow(
            enabled=False, require_destination_trait=False
        )
        self.migrate()
        self.assertIn('compute_freemem_release', self.events())
        self.assert_whole()

    def test_the_next_one_follows_the_changed_options(self) -> None:
        self.follow(enabled=False)
        self.migrate()
        self.assertEqual(
            ['compute_freemem_skip_disabled_by_host'], self.events()
        )

    def test_what_has_changed_is_logged(self) -> None:
        self.follow(mode='during', migration_bandwidth_mbps=7)
        self.assertEqual(
            [
                'INFO nova_freemem follows its changed options: mode: before '
                '-> during, migration_bandwidth_mbps: 1000 -> 7.'
            ],
            self.log_lines('INFO'),
        )

    def test_where_nothing_has_changed_nothing_is_said(self) -> None:
        self.follow(mode='before', migration_bandwidth_mbps=1000)
        self.assertEqual('', self.log.output)
        self.assertIs(self.engine, self.driver._engine)

    def test_an_error_leaves_the_options_in_force(self) -> None:
        self.fail(
            exceptions.ConfigInvalid(option='mode', problem='is not valid')
        )
        (line,) = self.log_lines('ERROR')
        self.assertIn('changed options: [freemem] mode: is not valid.', line)
        self.assertIs(self.engine, self.driver._engine)

    def test_an_error_of_ours_does_not_stop_nova(self) -> None:
        self.fail(ZeroDivisionError('of ours'))
        (line,) = self.log_lines('ERROR')
        self.assertIn('of ours', line)

    def test_nova_tells_of_them_once_it_has_started(self) -> None:
        hooks = self.patch_autospec(nova.conf.CONF, 'register_mutate_hook')
        hooks.assert_not_called()
        self.driver.init_host('source')
        hooks.assert_called_once_with(self.driver._follow_options)


class OtherMethodsTest(DriverTestCase):
    def test_a_file_that_cannot_be_looked_at_does_not_stop_nova(self) -> None:
        self.patch_autospec(
            conf_files, 'find', side_effect=ZeroDivisionError('of ours')
        )
        self.driver.init_host('source')
        self.assertEqual(1, len(self.log_lines('INFO')))

    def test_a_host_logs_that_it_makes_dry_runs(self) -> None:
        self.configure(dry_run=True)
        self.driver.init_host('source')
        _enabled, line = self.log_lines('INFO')
        self.assertIn('[freemem] dry_run is true', line)

    def test_a_host_logs_that_it_is_enabled(self) -> None:
        self.driver.init_host('source')
        self.stock['init_host'].assert_called_once_with(self.driver, 'source')
        self.assertEqual(
            [
                'INFO nova_freemem is enabled: acquiring by guest_agent, '
                'balloon_stats; releasing by guest_reclaim, '
                'balloon.'
            ],
            self.log_lines('INFO'),
        )

    def test_a_host_logs_that_it_is_not_enabled(self) -> None:
        self.disable()
        self.driver.init_host('source')
        (line,) = self.log_lines('INFO')
        self.assertIn('not enabled ([freemem] enabled is false)', line)
        self.assertIn('is restored, and none is released', line)

    def test_what_is_outstanding_is_restored_though_it_is_not_enabled(
        self,
    ) -> None:
        self.disable()
        owe(self.guest)
        self.driver.init_host('source')
        self.clock.wait(7)
        self.assert_whole()

    def test_a_guest_that_lands_is_restored_though_it_is_not_enabled(
        self,
    ) -> None:
        self.migrate_away()
        self.disable()
        self.arrive()
        self.clock.wait(10)
        self.assert_whole()

    def test_what_is_outstanding_as_it_starts_is_restored_afterwards(
        self,
    ) -> None:
        owe(self.guest)
        self.driver.init_host('source')
        self.assertEqual(1 * GIB, self.guest.target_kib)
        self.clock.wait(7)
        self.assert_whole()

    def test_where_nova_cannot_start_nothing_of_ours_does(self) -> None:
        self.stock['init_host'].side_effect = ZeroDivisionError
        self.assertRaises(ZeroDivisionError, self.driver.init_host, 'source')
        self.thread.assert_not_called()

    def test_it_ends_with_nova_compute(self) -> None:
        self.driver.init_host('source')
        self.clock.wait(1)
        self.driver.cleanup_host('source')
        self.stock['cleanup_host'].assert_called_once_with(
            self.driver, 'source'
        )
        self.clock.wait(600)
        self.assertEqual(1, self.hypervisor.looks)

    def test_nova_is_built_as_it_builds_itself(self) -> None:
        self.stock['__init__'].assert_called_once_with(
            self.driver, 'api', False
        )

    def arrive(self) -> None:
        self.driver.post_live_migration_at_destination(
            self.context,
            self.instance,
            ['network'],
            block_migration=True,
            block_device_info={'info': 1},
        )

    def test_novas_steps_at_the_destination_wait_for_nobody(self) -> None:
        self.migrate_away()
        landed_at = self.clock.now()
        self.arrive()
        name = 'post_live_migration_at_destination'
        self.stock[name].assert_called_once_with(
            self.driver,
            self.context,
            self.instance,
            ['network'],
            True,
            {'info': 1},
        )
        self.assertEqual(landed_at, self.clock.now())

    def test_beside_novas_steps_at_the_destination_the_memory_comes_back(
        self,
    ) -> None:
        self.migrate_away()
        self.arrive()
        self.clock.wait(10)
        self.assert_whole()
        self.assertEqual(
            ['compute_freemem_release', 'compute_freemem_restore'],
            self.events(),
        )
        self.assertEqual(
            self.event_create.call_count, self.event_finish.call_count
        )

    def migrate_away(self) -> None:
        """Have the guest shrunk and landed."""
        self.driver.init_host('source')
        self.stock['live_migration'].side_effect = lambda *_a: setattr(
            self.guest, 'host', 'dest'
        )
        self.migrate()
        self.domain = fakes.FakeGuest(self.guest, 'dest')
        self.find_domain.return_value = self.domain
        self.hypervisor.domains[UUID] = self.domain

    def test_an_error_of_ours_does_not_stop_a_landing(self) -> None:
        self.driver.init_host('source')
        self.hypervisor.fault = ZeroDivisionError()
        self.arrive()
        self.clock.wait(reconciler.WAIT_SECONDS + 1)
        name = 'post_live_migration_at_destination'
        self.assertEqual(1, self.stock[name].call_count)
        (line,) = self.log_lines('ERROR')
        self.assertIn('Could not restore memory', line)

    def test_a_guest_that_ended_on_its_way_is_none_to_complain_of(
        self,
    ) -> None:
        self.driver.init_host('source')
        del self.hypervisor.domains[UUID]
        self.arrive()
        self.clock.wait(1)
        name = 'post_live_migration_at_destination'
        self.assertEqual(1, self.stock[name].call_count)
        self.assertEqual([], self.log_lines('ERROR'))

    def test_an_error_of_novas_at_the_destination_stays_novas(self) -> None:
        self.migrate_away()
        name = 'post_live_migration_at_destination'
        self.stock[name].side_effect = ZeroDivisionError
        self.assertRaises(ZeroDivisionError, self.arrive)
        self.clock.wait(10)
        self.assert_whole()


class LandedTest(DriverTestCase):
    """An event says that a guest runs."""

    def setUp(self) -> None:
        super().setUp()
        owe(self.guest)
        self.driver.init_host('source')
        self.domain.fault_at[1] = fakes.libvirt_error(
            exceptions.DomainGone, 'not yet'
        )
        self.clock.wait(1)
        self.domain.calls.clear()

    def emit(
        self, transition: int = event.EVENT_LIFECYCLE_RESUMED, uuid: str = UUID
    ) -> None:
        emitted = event.LifecycleEvent(uuid, transition)
        self.driver.emit_event(emitted)
        self.stock['emit_event'].assert_called_with(self.driver, emitted)
        self.clock.wait(0.01)

    def arrive(self) -> None:
        self.driver.post_live_migration_at_destination(
            self.context, self.instance, []
        )
        self.clock.wait(12)

    def test_a_guest_that_landed_gets_its_memory_as_soon_as_it_runs(
        self,
    ) -> None:
        self.emit()
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def test_what_began_is_seen_to_beside_novas_own_steps(self) -> None:
        self.emit()
        self.arrive()
        self.assert_whole()
        self.assertEqual(1, len(self.domain.called('set_balloon_kib')))
        self.clock.wait(600)
        self.assertEqual(1, len(self.domain.called('erase_metadata')))

    def test_where_novas_own_steps_never_come_it_is_restored_as_well(
        self,
    ) -> None:
        self.emit()
        self.clock.wait(7)
        self.assert_whole()

    def test_a_late_guest_is_the_reconcilers_in_the_end(self) -> None:
        self.guest.deflate_kib_per_second = 100 * MIB
        self.emit()
        self.arrive()
        self.assertIsNotNone(self.guest.metadata)
        self.clock.wait(50)
        self.assert_whole()

    def test_a_guest_that_leaves_again_at_once_leaves_without_it_too(
        self,
    ) -> None:
        self.emit()
        self.driver.post_live_migration_at_destination(
            self.context, self.instance, []
        )
        self.clock.wait(1)
        self.stock['live_migration'].side_effect = lambda *_a: (
            self.assertGreater(self.guest.missing_kib, 2 * GIB)
        )
        self.migrate()
        self.stock['live_migration'].assert_called_once()
        self.assertEqual([], self.log_lines('ERROR'))

    def test_a_guest_without_an_entry_is_not_touched(self) -> None:
        self.guest.metadata = None
        self.emit()
        self.assertEqual([('read_metadata',)], self.domain.calls)

    def test_a_guest_that_leaves_from_here_stays_released(self) -> None:
        with self.hold():
            self.emit()
        self.assertEqual([], self.domain.calls)

    def test_one_that_is_paused_and_resumed_as_it_leaves_does_too(
        self,
    ) -> None:
        self.guest = fakes.SimulatedGuest(self.clock)
        self.domain.guest = self.guest
        self.clock.after(
            2,
            lambda: self.driver.emit_event(
                event.LifecycleEvent(UUID, event.EVENT_LIFECYCLE_RESUMED)
            ),
        )
        self.stock['live_migration'].side_effect = lambda *_a: (
            self.assertGreater(self.guest.missing_kib, 2 * GIB)
        )
        self.migrate()
        self.stock['live_migration'].assert_called_once()
        self.assert_whole()

    def test_other_events_are_novas_alone(self) -> None:
        for transition in (
            event.EVENT_LIFECYCLE_STARTED,
            event.EVENT_LIFECYCLE_PAUSED,
            event.EVENT_LIFECYCLE_MIGRATION_COMPLETED,
        ):
            self.emit(transition)
        self.driver.emit_event(event.Event())
        self.clock.wait(0.01)
        self.assertEqual([], self.domain.calls)

    def test_an_error_leaves_it_to_novas_own_steps(self) -> None:
        self.domain.fault_at[1] = ZeroDivisionError()
        self.emit()
        self.assertEqual([], self.log_lines('ERROR'))
        self.arrive()
        self.assert_whole()


class BusOutageTest(DriverTestCase):
    """Nova's message bus does not answer, and nobody waits for it."""

    BUS_SECONDS = 60

    def setUp(self) -> None:
        super().setUp()
        self.started_at = self.clock.now()
        self.bus_seconds = self.BUS_SECONDS
        self.event_create.side_effect = self.hang
        self.event_finish.side_effect = self.hang
        self.stock['live_migration'].side_effect = self.transfer
        self.transfer_at_seconds: float | None = None

    def hang(self, *_args: Any, **_kwargs: Any) -> None:
        self.clock.wait(self.bus_seconds)

    def seconds(self) -> float:
        return self.clock.now() - self.started_at

    def transfer(self, *_args: Any) -> None:
        self.transfer_at_seconds = self.seconds()
        self.clock.wait(3)
        self.guest.host = 'dest'

    def delay_seconds(self, bus_seconds: float) -> float:
        """:returns: when the transfer of a guest starts."""
        self.bus_seconds = bus_seconds
        self.guest = fakes.SimulatedGuest(self.clock)
        self.domain.guest = self.guest
        self.started_at = self.clock.now()
        self.migrate()
        self.clock.wait(300)
        assert self.transfer_at_seconds is not None
        return self.transfer_at_seconds

    def test_the_transfer_starts_no_later(self) -> None:
        healthy = self.delay_seconds(0)
        self.assertAlmostEqual(
            healthy, self.delay_seconds(self.BUS_SECONDS), delta=0.01
        )
        self.assertLess(healthy, 12)

    def test_the_release_starts_right_after_its_journal_entry(self) -> None:
        at_seconds: dict[str, float] = {}
        for name in ('write_metadata', 'set_balloon_kib'):
            call = getattr(self.domain, name)

            def timed(
                *args: Any, name: str = name, call: Any = call, **kwargs: Any
            ) -> Any:
                at_seconds.setdefault(name, self.seconds())
                return call(*args, **kwargs)

            self.patch(self.domain, name, timed)
        self.migrate()
        self.assertEqual(
            at_seconds['write_metadata'], at_seconds['set_balloon_kib']
        )

    def test_a_guest_that_is_skipped_leaves_at_once(self) -> None:
        self.guest.used_kib = 4 * GIB - 100 * MIB
        self.migrate()
        assert self.transfer_at_seconds is not None
        self.assertLess(self.transfer_at_seconds, 1)
        self.assertEqual(['compute_freemem_skip_nothing_free'], self.events())

    def test_a_guest_that_is_being_restored_waits_for_its_lock_alone(
        self,
    ) -> None:
        with self.hold():
            self.migrate()
        self.assertEqual(driver.LOCK_WAIT_SECONDS, self.transfer_at_seconds)

    def press(self, at_seconds: float) -> None:
        """Have the guest want everything, and see it get that in a tick."""
        target_kib: list[int] = []

        def want() -> None:
            target_kib.append(self.guest.target_kib)
            self.guest.used_kib = 4 * GIB

        self.clock.after(at_seconds, want)
        self.clock.after(
            at_seconds + 1.1 * watch.TICK_SECONDS,
            lambda: target_kib.append(self.guest.target_kib),
        )
        self.migrate()
        self.assertLess(target_kib[0], 4 * GIB)
        self.assertEqual(4 * GIB, target_kib[1])

    def test_under_pressure_before_the_transfer_everything_is_restored(
        self,
    ) -> None:
        self.press(2)
        self.assertIn('Stopped releasing memory', self.log.output)

    def test_under_pressure_as_the_transfer_starts_everything_is_restored(
        self,
    ) -> None:
        self.press(8.5)
        self.assertIn('during the transfer', self.log.output)

    def test_under_pressure_in_the_transfer_everything_is_restored(
        self,
    ) -> None:
        self.press(10)
        self.assertIn('during the transfer', self.log.output)

    def test_at_the_destination_the_memory_comes_back_no_later(self) -> None:
        self.migrate()
        self.clock.wait(300)
        self.domain = fakes.FakeGuest(self.guest, 'dest')
        self.hypervisor.domains[UUID] = self.domain
        self.driver.init_host('dest')
        self.driver.post_live_migration_at_destination(
            self.context, self.instance, []
        )
        self.clock.wait(0.01)
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.clock.wait(5)
        self.assert_whole()

    def test_the_migration_ends_two_seconds_later_at_most(self) -> None:
        self.migrate()
        assert self.transfer_at_seconds is not None
        self.assertAlmostEqual(
            self.transfer_at_seconds + 3 + event_queue.FLUSH_SECONDS,
            self.seconds(),
            delta=watch.TICK_SECONDS,
        )

    def test_an_abort_is_carried_out_two_seconds_later_at_most(self) -> None:
        self.clock.after(
            2, lambda: self.driver.live_migration_abort(self.instance)
        )
        before_seconds = []
        self.recover.side_effect = lambda *_a, **_k: before_seconds.append(
            self.seconds()
        )
        self.migrate()
        self.assert_whole()
        # The guest has had its memory back for two seconds by then.
        self.assertLess(before_seconds[0], 2 + 4 + event_queue.FLUSH_SECONDS)

    def test_the_reconciler_does_not_wait_for_the_bus_either(self) -> None:
        self.guest.deflate_kib_per_second = 100 * MIB  # for half a minute
        failed_at, notified_at = [], []

        def fail(*args: Any) -> None:
            failed_at.append(self.clock.now())
            args[5](self.context, self.instance)

        self.stock['live_migration'].side_effect = fail
        notify = self.patch_autospec(self.driver._reconciler, 'notify')
        notify.side_effect = lambda *_a: notified_at.append(self.clock.now())
        self.migrate()
        self.recover.assert_called_once()
        self.assertGreater(self.guest.missing_kib, 0)
        self.assertAlmostEqual(
            reconciler.WAIT_SECONDS,
            notified_at[0] - failed_at[0],
            delta=0.5,
        )

    def test_events_arrive_after_the_outage(self) -> None:
        self.migrate()
        self.assertEqual(0, self.event_finish.call_count)
        self.clock.wait(2 * self.BUS_SECONDS)
        self.assertEqual(['compute_freemem_release'], self.events())
        self.assertEqual(1, self.event_finish.call_count)

    def test_nova_compute_ends_two_seconds_later_at_most(self) -> None:
        self.driver.init_host('source')
        self.migrate()
        before = self.clock.now()
        self.driver.cleanup_host('source')
        self.assertEqual(event_queue.FLUSH_SECONDS, self.clock.now() - before)
        self.stock['cleanup_host'].assert_called_once_with(
            self.driver, 'source'
        )


class ShutdownTest(DriverTestCase):
    def test_nova_is_told_of_everything_before_nova_compute_ends(self) -> None:
        told_at: list[float] = []

        def slow(*_args: Any) -> None:
            self.clock.wait(3)
            told_at.append(self.clock.now())

        self.event_create.side_effect = slow
        with self.hold():
            self.migrate()
        self.assertEqual([], told_at)
        self.driver.cleanup_host('source')
        self.assertEqual([self.clock.now()], told_at)

    def stop(self) -> None:
        """Have nova-compute stop, within what Nova reserves for it."""
        began_at = self.clock.now()
        self.driver.cleanup_host('source')
        self.seconds = self.clock.now() - began_at
        self.stock['cleanup_host'].assert_called_once()
        self.assertLess(self.seconds, 20)

    def test_a_migration_that_releases_memory_is_cancelled_by_then(
        self,
    ) -> None:
        self.clock.thread(self.migrate).start()
        self.clock.wait(3)
        self.assertGreater(self.guest.missing_kib, 0)
        self.recover.side_effect = lambda *_a, **_k: self.assert_whole()
        self.stop()
        self.recover.assert_called_once_with(
            self.context,
            self.instance,
            'dest',
            self.migrate_data,
            migration_status='cancelled',
        )
        self.stock['live_migration'].assert_not_called()
        self.assert_whole()

    def test_a_transfer_goes_on_with_the_guest_whole(self) -> None:
        self.stock['live_migration'].side_effect = lambda *_a: self.clock.wait(
            3600
        )
        self.clock.thread(self.migrate).start()
        self.clock.wait(60)
        self.assertGreater(self.guest.missing_kib, 2 * GIB)
        self.stop()
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertLess(self.seconds, 1)
        self.recover.assert_not_called()
        self.assertEqual([], self.log_lines('WARNING'))

    def test_a_landing_is_waited_for(self) -> None:
        self.driver.init_host('dest')
        owe(self.guest)
        self.driver.post_live_migration_at_destination(
            self.context, self.instance, []
        )
        self.clock.wait(0)
        self.stop()
        self.assert_whole()

    def test_a_guest_that_takes_long_is_left_to_the_next_start(self) -> None:
        self.driver.init_host('dest')
        owe(self.guest)
        self.guest.deflate_kib_per_second = 100 * MIB  # for half a minute
        self.driver.post_live_migration_at_destination(
            self.context, self.instance, []
        )
        self.clock.wait(0)
        self.stop()
        (line,) = self.log_lines('WARNING')
        self.assertIn('Restoring memory of the guest is slow', line)
        self.assertIsNotNone(self.guest.metadata)

    def test_nothing_is_released_any_more(self) -> None:
        self.stop()
        self.migrate()
        self.assertEqual(['compute_freemem_skip_interrupted'], self.events())
        self.stock['live_migration'].assert_called_once()
        self.assertEqual([], self.domain.called('write_metadata'))


class RequestIdTest(base.TestCase):
    """An operator looks for a request in the log of nova-compute."""

    @contextlib.contextmanager
    def lend_a_spoilt_one(self, _connections: object) -> Iterator[mock.Mock]:
        host = mock.Mock(spec=hosts.Host)
        host.journal_entries.return_value = {}
        host.guest.return_value.read_metadata.return_value = 'not XML'
        yield host

    def test_a_landing_is_logged_with_the_request(self) -> None:
        self.patch_autospec(nova_driver.LibvirtDriver, '__init__')
        self.patch_autospec(
            nova_driver.LibvirtDriver, 'post_live_migration_at_destination'
        )
        self.patch_autospec(
            hosts.Connections, 'host', side_effect=self.lend_a_spoilt_one
        )
        log = self.useFixture(base.NovaLog())
        self.patch_autospec(nova_driver.LibvirtDriver, 'init_host')
        ours = driver.FreememLibvirtDriver(
            'api', engine=mock.Mock(policy=fakes.make_policy())
        )
        ours.init_host('dest')
        self.addCleanup(ours._reconciler.stop)
        request = context.RequestContext(is_admin=False)
        ours.post_live_migration_at_destination(
            request, objects.Instance(uuid=UUID), []
        )
        with ours._reconciler.hold(UUID, 60):
            pass
        (line,) = log.lines('The journal entry of the guest cannot be read')
        self.assertIn(f'[None {request.request_id} ', line)
        self.assertIn(f'[instance: {UUID}]', line)


class ProviderTest(DriverTestCase):
    """This host's resource provider in Placement."""

    def update(self) -> provider_tree.ProviderTree:
        tree = provider_tree.ProviderTree()
        tree.new_root('node', UUID, 1)
        tree.update_traits('node', ['CUSTOM_OPERATORS_OWN'])
        self.driver.update_provider_tree(tree, 'node', {'an': 'allocation'})
        self.stock['update_provider_tree'].assert_called_once_with(
            self.driver, tree, 'node', {'an': 'allocation'}
        )
        return tree

    def test_it_says_that_this_host_restores_memory(self) -> None:
        tree = self.update()
        self.assertEqual(
            {'CUSTOM_OPERATORS_OWN', trait.TRAIT}, tree.data('node').traits
        )

    def test_it_does_so_where_nothing_is_released(self) -> None:
        self.disable()
        tree = self.update()
        self.assertIn(trait.TRAIT, tree.data('node').traits)

    def test_it_says_so_after_all_that_nova_says(self) -> None:
        self.stock['update_provider_tree'].side_effect = ZeroDivisionError
        tree = provider_tree.ProviderTree()
        self.assertRaises(
            ZeroDivisionError, self.driver.update_provider_tree, tree, 'node'
        )

    def test_placement_is_asked_by_novas_own_client(self) -> None:
        self.driver.virtapi = mock.Mock()
        self.driver._destinations._get('/url', version='1.18')
        self.driver.virtapi.reportclient.get.assert_called_once_with(
            '/url', version='1.18'
        )


class LaterNovaTest(DriverTestCase):
    """A Nova that gives its driver more than the plugin knows of."""

    def setUp(self) -> None:
        super().setUp()
        # The stand-ins have the signatures of this Nova.
        for name in self.stock:
            self.stock[name] = mock.Mock()
            patcher = mock.patch.object(
                nova_driver.LibvirtDriver, name, self.stock[name]
            )
            self.addCleanup(patcher.stop)
            patcher.start()

    def test_what_it_adds_reaches_its_own_methods(self) -> None:
        for name, known in (
            ('init_host', ('source',)),
            ('cleanup_host', ('source',)),
            ('live_migration_abort', (self.instance,)),
            ('live_migration_force_complete', (self.instance,)),
            ('emit_event', (event.Event(),)),
            ('update_provider_tree', (mock.Mock(), 'node', None)),
            (
                'post_live_migration_at_destination',
                (self.context, self.instance, [], True, None),
            ),
            (
                'live_migration',
                (
                    self.context,
                    self.instance,
                    'dest',
                    self.post,
                    self.recover,
                    True,
                    self.migrate_data,
                ),
            ),
        ):
            getattr(self.driver, name)(*known, 'more', later='later')
            args = self.stock[name].call_args.args
            self.assertEqual('more', args[len(known)], name)
            self.assertEqual(
                {'later': 'later'}, self.stock[name].call_args.kwargs, name
            )

    def test_so_it_does_where_nothing_of_ours_is_at_work(self) -> None:
        self.hypervisor.fault = ZeroDivisionError()
        self.driver.live_migration(
            self.context,
            self.instance,
            'dest',
            self.post,
            self.recover,
            migrate_data=self.migrate_data,
            later='later',
        )
        self.stock['live_migration'].assert_called_once_with(
            self.context,
            self.instance,
            'dest',
            self.post,
            self.recover,
            False,
            self.migrate_data,
            later='later',
        )


class DomainTest(base.TestCase):
    def test_the_domain_is_novas_own_proxy_of_it(self) -> None:
        found = mock.create_autospec(nova_guest.Guest, instance=True)
        found._domain = mock.sentinel.handle
        self.patch_autospec(nova_driver.LibvirtDriver, '__init__')
        ours = driver.FreememLibvirtDriver('api', engine=mock.Mock())
        ours._host = mock.create_autospec(nova_host.Host, instance=True)
        ours._host.get_guest.return_value = found
        instance = object()
        domain = ours._guest(instance)
        self.assertIsInstance(domain, guests.Guest)
        self.assertIs(mock.sentinel.handle, domain._handle)
        ours._host.get_guest.assert_called_once_with(instance)

    def test_all_else_is_asked_over_connections_of_its_own(self) -> None:
        self.patch_autospec(nova_driver.LibvirtDriver, '__init__')
        ours = driver.FreememLibvirtDriver(
            'api', engine=mock.Mock(policy=fakes.make_policy())
        )
        ours._host = mock.create_autospec(nova_host.Host, instance=True)
        ours._host._uri = 'qemu:///system'
        for lend in (ours._reconciler._host, ours._connections.host):
            ours._host._connect.reset_mock()
            with lend() as host:
                self.assertIs(
                    ours._host._connect.return_value, host._connect()
                )
            ours._host._connect.assert_called_once_with(
                'qemu:///system', False
            )
        ours._host.get_connection.assert_not_called()


class GuruMeditationTest(DriverTestCase):
    """What an operator sees who sends nova-compute SIGUSR2."""

    def setUp(self) -> None:
        super().setUp()
        register = self.patch_autospec(guru_meditation, 'register')
        self.driver.init_host('source')
        (self.figures,) = register.call_args.args

    def test_what_is_under_way_and_what_was_learnt_is_shown(self) -> None:
        now = self.clock.now()
        self.engine.backoff.add(UUID, now)
        self.engine.bandwidths.learn(
            'dest', transfer_meter.Carried(120000.0, None, 100.0), now
        )
        seen = []
        self.stock['live_migration'].side_effect = lambda *_args: seen.append(
            self.figures()
        )
        self.migrate()
        (figures,) = seen
        self.assertEqual(
            {UUID: 'nothing is released (backing_off); transferring'},
            figures['migrations from this host'],
        )
        self.assertEqual(
            {UUID: 'for 600 s more'},
            figures['guests that are backed off from'],
        )
        self.assertEqual(
            {
                'dest': 'alone 983 Mbit/s, shared unknown, at least 1 Mbit/s, '
                '0 s ago'
            },
            figures['bandwidth by destination'],
        )
        self.assertEqual('650 MiB/s', figures['release rates']['free memory'])
        self.assertEqual({}, self.figures()['migrations from this host'])

    def test_each_phase_has_its_words(self) -> None:
        seen = []

        def look(*_args: object) -> None:
            seen.append(self.figures()['migrations from this host'][UUID])

        self.clock.after(0.5, look)
        self.stock['live_migration'].side_effect = look
        self.migrate()
        self.assertEqual(
            [
                'memory is being released',
                'memory has been released; transferring',
            ],
            seen,
        )

    def test_a_signal_handler_waits_for_no_lock(self) -> None:
        self.driver._reconciler.notify(UUID)
        held = mock.MagicMock()
        held.__enter__.side_effect = AssertionError('it is held')
        self.patch(self.driver._reconciler, '_lock', held)
        self.assertIn('guests with outstanding memory', self.figures())

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

"""What an operator is foretold of migrations before there are any."""

from collections.abc import Mapping
import json
from typing import Any

from lxml import etree
import requests_mock
from requests_mock.contrib import fixture as requests_mock_fixture

from nova_freemem import exceptions
from nova_freemem.virt import domain_xml
from nova_freemem.virt import interfaces
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.unit import etc_nova
from tests.unit.cli import base
from tests.unit.cli.base import OTHER_UUID
from tests.unit.cli.base import UUID

NOVA_CONF = """\
[freemem]
enabled = true
migration_bandwidth_mbps = 1000
"""
PLACEMENT = """\
[placement]
auth_type = none
endpoint_override = http://placement.example.org
"""
KIB_PER_SECOND = 1e9 / 8 / 1024


class EstimateTestCase(base.CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.etc = self.useFixture(etc_nova.EtcNova())
        self.etc.write('nova.conf', NOVA_CONF)
        self.speed = self.patch_autospec(
            interfaces, 'speed_mbps', return_value=None
        )

    def add_guest(
        self,
        uuid: str = UUID,
        flavor: Mapping[str, str] | None = None,
        **behaviour: Any,
    ) -> fakes.SimulatedGuest:
        """:returns: a guest of 4 GiB that has freed 3.5 GiB of it."""
        guest = fakes.SimulatedGuest(self.clock, **behaviour)
        # As Nova 32 and later do.
        specs = ''.join(
            f'<nova:extraSpec name="{name}">{value}</nova:extraSpec>'
            for name, value in (flavor or {}).items()
        )
        guest.xml = guest.xml.replace(
            '</nova:flavor>',
            f'<nova:extraSpecs>{specs}</nova:extraSpecs></nova:flavor>',
        )
        self.host.domains[uuid] = fakes.FakeGuest(guest, 'source', uuid)
        return guest

    def rows(self, *words: str) -> list[dict[str, Any]]:
        """:returns: what a program gets when all is well."""
        code = self.run_command('estimate', '-f', 'json', *words)
        self.assertEqual(0, code, self.err)
        for domain in self.host.domains.values():
            self.assertEqual([], domain.called('set_balloon_kib'))
            self.assertEqual([], domain.called('write_metadata'))
        return json.loads(self.out)

    def row(self, *words: str) -> dict[str, Any]:
        """:returns: what is foretold of one guest."""
        (row,) = self.rows(*(words or (UUID,)))
        return row

    def assert_skipped(self, reason: str, *words: str) -> dict[str, Any]:
        """The plugin would change nothing, for this reason."""
        row = self.row(*words)
        self.assertEqual(f'skip_{reason}', row['release'])
        self.assertNotEqual('', row['details'])
        self.assertEqual(row['plain_seconds'], row['seconds'])
        self.assertEqual(row['plain_mib'], row['sent_mib'])
        return row


class EstimateTest(EstimateTestCase):
    def test_a_guest_that_has_freed_memory(self) -> None:
        guest = self.add_guest()
        row = self.row()
        resident_mib = row['resident_mib']
        self.assertAlmostEqual(
            guest.rss_kib / 1024 - 64, resident_mib, delta=1
        )
        self.assertEqual(
            (UUID, 4096, 3584, 0, resident_mib, 'auto', ''),
            tuple(
                row[name]
                for name in (
                    'server',
                    'memory_mib',
                    'free_mib',
                    'cold_mib',
                    'plain_mib',
                    'release',
                    'details',
                )
            ),
        )
        self.assertAlmostEqual(
            resident_mib * 1024 / KIB_PER_SECOND,
            row['plain_seconds'],
            delta=0.1,
        )
        self.assertLess(row['seconds'], row['plain_seconds'] / 2)
        self.assertLess(row['sent_mib'], row['plain_mib'] / 2)
        self.assertEqual('1000 Mbit/s (configured)', row['bandwidth'])
        self.assertEqual('', self.err)

    def test_it_sends_less_the_less_it_sends_meanwhile(self) -> None:
        self.add_guest()
        sent = {}
        for mode in ('before', 'during'):
            self.etc.write('nova.conf', f'{NOVA_CONF}mode = {mode}\n')
            row = self.row()
            self.assertEqual(mode, row['release'])
            sent[mode] = row['sent_mib']
        self.assertLess(sent['before'], sent['during'])

    def test_people_get_a_table(self) -> None:
        self.add_guest().agent.latency_seconds = 3600
        self.assertEqual(0, self.run_command('estimate', UUID))
        self.assertRegex(self.out, rf'\| {UUID} \| +4096 \| .* \| n/a +\| ')

    def test_a_drain_is_summed_up(self) -> None:
        self.add_guest(UUID)
        self.add_guest(OTHER_UUID).has_driver = False
        first, second, last = self.rows('--all')
        self.assertEqual(
            [UUID, OTHER_UUID, 'total'],
            [row['server'] for row in (first, second, last)],
        )
        for name in ('memory_mib', 'plain_seconds', 'seconds', 'sent_mib'):
            self.assertAlmostEqual(
                first[name] + second[name], last[name], places=1
            )
        self.assertEqual(first['free_mib'], last['free_mib'])
        self.assertEqual('1 of 2 with a release, one by one', last['details'])

    def test_what_is_not_known_is_left_out_of_the_sum(self) -> None:
        self.add_guest(UUID)
        self.add_guest(OTHER_UUID).transferred_kib = 1
        first, second, last = self.rows('--all')
        self.assertEqual('skip_domain_busy', second['release'])
        self.assertIsNone(second['plain_seconds'])
        self.assertEqual(first['plain_seconds'], last['plain_seconds'])
        self.assertIn('; 1 of unknown cost are left out', last['details'])

    def test_a_host_without_guests(self) -> None:
        self.assertEqual([], self.rows('--all'))

    def test_a_guest_that_leaves_meanwhile_does_not_hide_the_others(
        self,
    ) -> None:
        self.add_guest(UUID)
        self.add_guest(OTHER_UUID)
        self.host.domains[UUID].fault_at[1] = fakes.libvirt_error(
            exceptions.DomainGone, 'no domain'
        )
        self.assertEqual(OTHER_UUID, self.row('--all')['server'])

    def test_free_memory_that_may_be_zeros_is_not_foretold_to_be_sent(
        self,
    ) -> None:
        guest = self.add_guest()
        self.etc.write(
            'nova.conf',
            f'{NOVA_CONF}[libvirt]\n'
            'live_migration_parallel_connections = 2\n'
            'live_migration_permit_post_copy = true\n',
        )
        row = self.assert_skipped('not_worthwhile')
        self.assertEqual(4096 - guest.free_kib // 1024, row['plain_mib'])
        self.assertGreater(row['resident_mib'], 4000)
        guest.touched_kib -= 2 * GIB
        guest.cold_kib = 2 * GIB
        row = self.row()
        self.assertEqual('auto', row['release'])
        self.assertEqual(4096 - guest.free_kib // 1024, row['plain_mib'])
        # No less than what is in use.
        self.assertGreater(row['sent_mib'], guest.used_kib // 1024)

    def test_a_bandwidth_that_is_assumed_is_said_to_be(self) -> None:
        self.etc.write(
            'nova.conf',
            '[DEFAULT]\nmy_ip = 192.0.2.7\n[freemem]\nenabled = true\n',
        )
        self.add_guest()
        self.assertEqual('1000 Mbit/s (assumed)', self.row()['bandwidth'])
        self.assertIn('The bandwidth is 1000 Mbit/s (assumed).', self.err)
        self.speed.assert_called_with(frozenset({'192.0.2.7'}), 1)
        self.speed.return_value = 100
        self.assertEqual('100 Mbit/s (assumed)', self.row()['bandwidth'])

    def test_what_nova_lets_qemu_send_bounds_it(self) -> None:
        self.etc.write(
            'nova.conf',
            f'{NOVA_CONF}[libvirt]\nlive_migration_bandwidth = 50\n',
        )
        self.add_guest()
        self.assertIn('419 Mbit/s (limited by', self.row()['bandwidth'])

    def test_what_the_flavor_says_counts(self) -> None:
        self.add_guest(flavor={'freemem:mode': 'during', 'hw:x': '1'})
        self.assertEqual('during', self.row()['release'])

    def test_a_host_on_which_releasing_is_not_enabled_yet(self) -> None:
        self.etc.write('nova.conf', NOVA_CONF.replace('true', 'false'))
        self.add_guest()
        self.assertEqual('auto', self.row()['release'])
        self.assertIn('[freemem] enabled is false on this host', self.err)


class SkipTest(EstimateTestCase):
    def test_a_flavor_that_says_no(self) -> None:
        self.add_guest(flavor={'freemem:enabled': 'false'})
        row = self.assert_skipped('disabled_by_flavor')
        self.assertEqual(3584, row['free_mib'])

    def test_outstanding_memory(self) -> None:
        self.add_guest().metadata = fakes.make_entry().to_xml()
        self.assert_skipped('outstanding_memory')

    def test_a_guest_that_is_paused(self) -> None:
        self.add_guest().running = False
        self.assert_skipped('not_running')

    def test_no_balloon_driver(self) -> None:
        self.add_guest().has_driver = False
        row = self.assert_skipped('no_balloon_driver')
        self.assertGreater(row['plain_seconds'], 0)

    def test_no_balloon(self) -> None:
        self.add_guest()
        self.patch_autospec(
            self.host.domains[UUID], 'memory_stats', return_value=None
        )
        row = self.assert_skipped('no_balloon')
        self.assertIsNone(row['plain_seconds'])

    def test_huge_pages_are_all_sent(self) -> None:
        guest = self.add_guest()
        guest.xml = guest.xml.replace(
            '<devices>',
            '<memoryBacking><hugepages/></memoryBacking><devices>',
            1,
        )
        row = self.assert_skipped('pinned_memory')
        self.assertEqual(4096, row['plain_mib'])

    def test_no_source(self) -> None:
        self.etc.write('nova.conf', f'{NOVA_CONF}acquire = guest_agent\n')
        self.add_guest().agent.latency_seconds = 3600
        row = self.assert_skipped('no_source')
        self.assertIsNone(row['free_mib'])

    def test_a_guest_that_has_little_to_gain_is_asked_all_the_same(
        self,
    ) -> None:
        self.etc.write('nova.conf', f'{NOVA_CONF}min_saving_mib = 9999\n')
        self.add_guest()
        row = self.assert_skipped('not_worthwhile')
        self.assertEqual(3584, row['free_mib'])

    def test_a_libvirt_that_fails_for_one_guest(self) -> None:
        self.add_guest(UUID)
        self.host.domains[UUID].fault_at[3] = fakes.libvirt_error(
            exceptions.LibvirtError, 'no answer'
        )
        row = self.assert_skipped('error')
        self.assertIn('no answer', row['details'])

    def test_this_host_as_the_destination(self) -> None:
        self.add_guest()
        self.assert_skipped('same_host', UUID, '--to', self.host.name())


class DestinationTest(EstimateTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.etc.write('nova.conf', NOVA_CONF + PLACEMENT)
        self.placement = self.useFixture(requests_mock_fixture.Fixture())
        self.add_guest()

    def answer(self, *names: str, **kwargs: Any) -> None:
        """Have Placement answer whoever asks."""
        self.placement.get(
            requests_mock.ANY,
            json={'resource_providers': [{'name': name} for name in names]},
            **kwargs,
        )

    def test_a_destination_that_restores_memory(self) -> None:
        self.answer('host2')
        self.assertEqual('auto', self.row(UUID, '--to', 'host2')['release'])
        (request,) = self.placement.request_history
        self.assertEqual(['host2'], request.qs['name'])

    def test_a_destination_that_does_not(self) -> None:
        self.answer()
        row = self.assert_skipped(
            'destination_not_ready', UUID, '--to', 'host2'
        )
        self.assertIn('host2 has no trait', row['details'])

    def test_a_placement_that_does_not_answer(self) -> None:
        self.answer(status_code=503)
        row = self.assert_skipped(
            'destination_not_ready', UUID, '--to', 'host2'
        )
        self.assertIn('answered 503', row['details'])
        self.etc.write('nova.conf', NOVA_CONF)
        row = self.assert_skipped(
            'destination_not_ready', UUID, '--to', 'host2'
        )
        self.assertIn('Placement cannot be reached', row['details'])

    def test_a_destination_that_need_not_be_asked_about(self) -> None:
        self.etc.write(
            'nova.conf', f'{NOVA_CONF}require_destination_trait = false\n'
        )
        self.assertEqual('auto', self.row(UUID, '--to', 'host2')['release'])


class RefusedTest(EstimateTestCase):
    def assert_refused(self, line: str, *words: str) -> None:
        """One line says why, and no guest is asked."""
        guest = fakes.FakeGuest(fakes.SimulatedGuest(self.clock), 'source')
        self.host.domains[UUID] = guest
        self.assertEqual(2, self.run_command('estimate', *words))
        self.assertEqual('', self.out)
        self.assertRegex(self.err, rf'\A(usage: [^~]+)?[^\n]*{line}[^\n]*\n\Z')
        self.assertEqual([], guest.calls)

    def test_wrong_words(self) -> None:
        self.assert_refused('Specify either --all or one or more servers')
        self.assert_refused('Specify either --all or', '--all', UUID)

    def test_no_configuration(self) -> None:
        (self.etc.path / 'nova.conf').unlink()
        self.assert_refused('no file of it is found', '--all')
        self.assert_refused('/none', '--all', '--config-file', '/none')

    def test_wrong_values(self) -> None:
        self.etc.write('nova.conf', f'{NOVA_CONF}mode = slow\n')
        self.assert_refused("mode: .* found 'slow'", '--all')
        self.etc.write('nova.conf', f'{NOVA_CONF}acquire = crystal_ball\n')
        self.assert_refused("'crystal_ball' is not installed", '--all')
        self.etc.write(
            'nova.conf',
            f'{NOVA_CONF}[libvirt]\nlive_migration_bandwidth = much\n',
        )
        self.assert_refused(r'\[libvirt\] live_migration_bandwidth', '--all')

    def test_no_libvirt_or_no_right_to_it(self) -> None:
        self.connect.side_effect = fakes.libvirt_error(
            exceptions.LibvirtError, 'access denied'
        )
        self.assert_refused('access denied', '--all')

    def test_a_guest_that_is_not_here(self) -> None:
        self.assertEqual(1, self.run_command('estimate', OTHER_UUID))
        self.assertEqual('', self.out)
        self.assertIn('no domain', self.err)


class WindowsTest(EstimateTestCase):
    def test_novas_own_sign_of_windows(self) -> None:
        guest = self.add_guest()
        self.assertFalse(domain_xml.runs_windows(etree.fromstring(guest.xml)))
        guest.xml = guest.xml.replace(
            '<devices>', '<features><hyperv/></features><devices>', 1
        )
        self.etc.write('nova.conf', f'{NOVA_CONF}reclaim = free\n')
        self.assert_skipped('no_source')
        self.assertGreater(guest.memory_kib, GIB)

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

"""What the flavor and the image of a server decide."""

from typing import ClassVar

from nova.tests.functional.api import client

from nova_freemem import policy
from tests.functional import base
from tests.functional import test_migration

# nova-api validates extra specs from this microversion on.
VALIDATED = '2.86'
NOT_VALIDATED = '2.85'


class FlavorThatSaysNo(test_migration.WatchedTransferTestCase):
    EXTRA_SPECS: ClassVar[dict[str, str]] = {'freemem:enabled': 'false'}

    def test_nothing_is_released(self) -> None:
        self.migrate()
        self.assert_skipped('disabled_by_flavor')


class ImageThatSaysNo(test_migration.WatchedTransferTestCase):
    IMAGE_PROPERTIES: ClassVar[dict[str, str]] = {'freemem_enabled': 'no'}
    EXTRA_SPECS: ClassVar[dict[str, str]] = {'freemem:enabled': 'true'}

    def test_nothing_is_released(self) -> None:
        self.migrate()
        self.assert_skipped('disabled_by_image')


class FlavorThatSaysDuring(test_migration.WatchedTransferTestCase):
    CONFIGURATION = base.ENABLED + 'mode = before\n'
    EXTRA_SPECS: ClassVar[dict[str, str]] = {'freemem:mode': 'during'}

    def test_the_transfer_starts_at_once(self) -> None:
        self.migrate()
        released, *_restored = self.log_lines('INFO')
        self.assertIn('MiB during the transfer', released)
        self.assert_whole(self.destination)


class ImageThatAsksForMoreHeadroom(test_migration.WatchedTransferTestCase):
    IMAGE_PROPERTIES: ClassVar[dict[str, str]] = {
        'hw_qemu_guest_agent': 'yes',
        'freemem_headroom_min_mib': '2048',
        'freemem_reclaim': 'available',
    }

    def test_the_guest_keeps_it(self) -> None:
        kept_kib = self.guest.memory_kib - self.guest.free_kib
        self.migrate()
        self.assertEqual(
            kept_kib + 2048 * 1024 * 5 // 4, self.balloon_in_transfer_kib
        )
        self.assert_whole(self.destination)


class FlavorFromBeforeItsValidator(base.LiveMigrationTestCase):
    def set_extra_specs(
        self, flavor: str, extra_specs: dict[str, str]
    ) -> None:
        """Set what nova-api does not validate."""
        self.api.microversion = NOT_VALIDATED
        super().set_extra_specs(flavor, extra_specs)
        self.api.microversion = self.microversion

    EXTRA_SPECS: ClassVar[dict[str, str]] = {
        'freemem:headroom_percent': '150',
        'freemem:mode': 'during',
    }

    def test_what_is_wrong_is_named_and_the_rest_counts(self) -> None:
        self.migrate()
        (line,) = self.log_lines('WARNING')
        self.assertIn(
            "Ignoring 'freemem:headroom_percent' of the flavor of the guest: "
            "it is '150'; valid: a whole number from 1 to 90.",
            line,
        )
        released, *_restored = self.log_lines('INFO')
        self.assertIn('MiB during the transfer', released)
        self.assert_whole(self.destination)


class ExtraSpecs(base.LiveMigrationTestCase):
    """What nova-api makes of extra specs, with the plugin installed."""

    GOOD: ClassVar[dict[str, list[str]]] = {
        'enabled': ['true', 'no', '0'],
        'dry_run': ['true', 'no', '0'],
        'mode': ['auto', 'before', 'during'],
        'reclaim': ['free', 'cold', 'available'],
        'headroom_percent': ['1', '90'],
        'headroom_min_mib': ['32', '1048576'],
        'deadline_seconds': ['2', '3600'],
    }
    BAD: ClassVar[dict[str, list[str]]] = {
        'enabled': ['perhaps', ''],
        'dry_run': ['perhaps'],
        'mode': ['never', 'Auto'],
        'reclaim': ['hot'],
        'headroom_percent': ['0', '91', '12%'],
        'headroom_min_mib': ['31', '1048577'],
        'deadline_seconds': ['1', '3601', '1.5'],
        'headroom': ['12'],
    }

    def test_are_validated_by_each_microversion_that_does_so(self) -> None:
        self.assertEqual(sorted(policy.FLAVOR_SETTINGS), sorted(self.GOOD))
        flavor = self._create_flavor()
        for microversion in (VALIDATED, 'latest'):
            self.api.microversion = microversion
            for name, values in self.GOOD.items():
                for value in values:
                    self.set_extra_specs(flavor, {f'freemem:{name}': value})
            for name, values in self.BAD.items():
                for value in values:
                    refusal = self.assertRaises(
                        client.OpenStackApiException,
                        self.set_extra_specs,
                        flavor,
                        {f'freemem:{name}': value},
                    )
                    self.assertEqual(400, refusal.response.status_code)
                    self.assertIn('Validation failed', str(refusal))
            # Those that are not the plugin's are as ever.
            self.set_extra_specs(flavor, {'own:enabled': 'perhaps'})

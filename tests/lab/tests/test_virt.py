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

"""The domains of the lab's guests, as libvirt gets them."""

from __future__ import annotations

import pathlib
from unittest import mock

import libvirt
from lxml import etree

from tests import base
from tests.lab import accelerator
from tests.lab import guest_image
from tests.lab import host as lab_host
from tests.lab import virt

SCHEMA = pathlib.Path('/usr/share/libvirt/schemas/domain.rng')
QEMU = {'qemu': 'http://libvirt.org/schemas/domain/qemu/1.0'}


class DescriptionTest(base.TestCase):
    def describe(self, **figures: bool) -> etree._Element:
        self.patch_autospec(accelerator, 'virt_type').return_value = 'qemu'
        self.patch_autospec(
            guest_image, 'get'
        ).return_value = guest_image.GuestImage(pathlib.Path('/image'))
        spec = virt.GuestSpec('guest', 4096, **figures)
        domain = etree.fromstring(virt._describe(spec))
        if SCHEMA.exists():
            etree.RelaxNG(file=SCHEMA).assertValid(domain)
        return domain

    def test_a_balloon_that_hints_has_a_thread_for_that(self) -> None:
        domain = self.describe(hints=True, reporting=True)
        thread = 'iothread' + domain.findtext('iothreads')
        override = domain.find('qemu:override/qemu:device', QEMU)
        self.assertEqual('balloon0', override.get('alias'))
        self.assertEqual(
            {'free-page-hint': 'true', 'iothread': thread},
            {
                one.get('name'): one.get('value')
                for one in override.iterfind('*/qemu:property', QEMU)
            },
        )

    def test_others_are_as_nova_makes_them(self) -> None:
        domain = self.describe()
        self.assertIsNone(domain.find('iothreads'))
        self.assertIsNone(domain.find('qemu:override', QEMU))


class MigrateTest(base.TestCase):
    def test_a_downtime_that_libvirt_does_not_tell_is_not_zero(self) -> None:
        source, to = (
            mock.create_autospec(lab_host.Host, instance=True)
            for _ in range(2)
        )
        to.layout = lab_host.Host('host2').layout
        domain = mock.create_autospec(libvirt.virDomain, instance=True)
        self.patch_autospec(virt, 'find').return_value = (source, domain)
        source.link_bytes.return_value = (0, 0)
        # As libvirt 11.3 answers after a post-copy migration.
        arrived = to.libvirt().lookupByUUIDString.return_value
        arrived.jobStats.return_value = {'type': 3}
        way = virt.Way(libvirt.VIR_MIGRATE_POSTCOPY)
        self.assertIsNone(virt.migrate(domain, to, way).downtime_ms)
        _uri, _settings, flags = domain.migrateToURI3.call_args.args
        self.assertTrue(flags & libvirt.VIR_MIGRATE_POSTCOPY)
        self.assertTrue(flags & libvirt.VIR_MIGRATE_LIVE)

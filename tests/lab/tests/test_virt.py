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

from lxml import etree

from tests import base
from tests.lab import accelerator
from tests.lab import guest_image
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

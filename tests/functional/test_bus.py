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

"""Live migrations while Nova's message bus does not answer."""

import threading
from typing import Any
from unittest import mock

from nova import objects
from nova.virt.libvirt import driver as libvirt_driver

from nova_freemem import driver
from tests.functional import base
from tests.functional import fakedomain

RELEASE = 'compute_freemem_release'
RESTORE = 'compute_freemem_restore'


class BusThatHangs(base.LiveMigrationTestCase):
    """The conductor does not answer when it is told of our events."""

    def setUp(self) -> None:
        super().setUp()
        self.answers = threading.Event()
        self.addCleanup(self.answers.set)
        for method in ('create', 'event_finish'):
            patcher = mock.patch.object(
                objects.InstanceActionEvent, method, self._hanging(method)
            )
            patcher.start()
            self.addCleanup(patcher.stop)
        self.source.transfer = self._look_at_the_transfer

    def _hanging(self, method: str) -> Any:
        call = getattr(objects.InstanceActionEvent, method)

        def hang(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread().name == 'freemem-events':
                self.answers.wait(base.PATIENCE_SECONDS)
            else:
                self.assertNotIn('freemem', str(args))
            return call(*args, **kwargs)

        return hang

    def _look_at_the_transfer(self, domain: fakedomain.Domain) -> None:
        self.balloon_in_transfer_kib = self.guest.actual_kib

    def test_server_migrates_and_its_events_arrive_afterwards(self) -> None:
        self.ask_to_migrate()
        self.see_without_events('completed', 'active', 'destination')
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB)
        self.assert_whole(self.destination)
        self.assertNotIn(RELEASE, self.events())
        self.answers.set()
        self.wait_for([], lambda: base.threads('freemem-events'))
        events = self.events()
        self.assertEqual('Success', events[RELEASE])
        self.assertEqual('Success', events[RESTORE])

    def test_nothing_is_fetched_over_the_bus_before_novas_own_step(
        self,
    ) -> None:
        """What the plugin reads of the server has come with the request."""
        fetched: list[str] = []
        ours = driver.FreememLibvirtDriver.live_migration
        stock = libvirt_driver.LibvirtDriver.live_migration
        load = objects.Instance.obj_load_attr
        step = threading.local()

        def begin(*args: Any, **kwargs: Any) -> None:
            step.is_ours = True
            ours(*args, **kwargs)

        def end(*args: Any, **kwargs: Any) -> None:
            step.is_ours = False
            stock(*args, **kwargs)

        def fetch(instance: objects.Instance, name: str) -> None:
            if getattr(step, 'is_ours', False):
                fetched.append(name)
            load(instance, name)

        for target, name, call in (
            (driver.FreememLibvirtDriver, 'live_migration', begin),
            (libvirt_driver.LibvirtDriver, 'live_migration', end),
            (objects.Instance, 'obj_load_attr', fetch),
        ):
            patcher = mock.patch.object(target, name, call)
            patcher.start()
            self.addCleanup(patcher.stop)
        self.ask_to_migrate()
        self.see_without_events('completed', 'active', 'destination')
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB)
        self.assertEqual([], fetched)

    def test_server_that_is_skipped_migrates_at_once(self) -> None:
        self.guest.touched_kib = 0
        self.ask_to_migrate()
        self.see_without_events('completed', 'active', 'destination')
        self.answers.set()
        self.wait_for([], lambda: base.threads('freemem-events'))
        self.assertIn('compute_freemem_skip_not_worthwhile', self.events())

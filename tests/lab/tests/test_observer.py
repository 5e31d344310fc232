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

"""A migration is seen whatever becomes of an event or of a libvirtd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import libvirt

from tests import base
from tests.lab import host as lab_host
from tests.lab import observer as observers
from tests.lab.observation import State

ARRIVING = (
    libvirt.VIR_DOMAIN_PAUSED,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
)
RUNNING = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED)
SOON_SECONDS = 10.0


class ObserverTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.domain = mock.create_autospec(libvirt.virDomain, instance=True)
        self.domain.UUIDString.return_value = 'the-guest'
        self.domain.state.return_value = ARRIVING
        self.domain.memoryStats.return_value = {'actual': 4096}
        self.domain.jobStats.return_value = {}
        self.connection = mock.create_autospec(
            libvirt.virConnect, instance=True
        )
        self.connection.lookupByUUIDString.return_value = self.domain
        self.host = mock.create_autospec(lab_host.Host, instance=True)
        self.host.libvirt.return_value = self.connection

    def observe(self, **how: Any) -> observers.Observer:
        observer = observers.Observer(
            'the-guest',
            {'destination': self.host},
            **{'state_seconds': 0.001, 'memory_seconds': 0.001, **how},
        )
        self.enterContext(observer)
        return observer

    def hear(self) -> Callable[[libvirt.virDomain, int], None]:
        """:returns: what has libvirt tell of an event of a domain."""
        args, _ = self.connection.domainEventRegisterAny.call_args
        return lambda domain, event: args[2](
            self.connection, domain, event, 0, None
        )

    def test_a_landing_whose_event_is_missed_is_seen(self) -> None:
        observer = self.observe(state_seconds=None)
        observer.look_at_state('destination')
        self.assertIsNone(observer.wait_landed(0.05))
        self.domain.state.return_value = RUNNING
        observer.look_at_state('destination')
        self.assertIsNotNone(observer.wait_landed(0.0))

    def test_a_landing_is_heard_before_anybody_looks(self) -> None:
        observer = self.observe(state_seconds=None)
        other = mock.create_autospec(libvirt.virDomain, instance=True)
        self.hear()(other, libvirt.VIR_DOMAIN_EVENT_RESUMED)
        self.hear()(self.domain, libvirt.VIR_DOMAIN_EVENT_STARTED)
        self.assertIsNone(observer.wait_landed(0.05))
        self.hear()(self.domain, libvirt.VIR_DOMAIN_EVENT_RESUMED)
        self.assertIsNotNone(observer.wait_landed(SOON_SECONDS))

    def test_a_wait_for_a_landing_ends_with_the_observation(self) -> None:
        observer = self.observe()
        observer.__exit__()
        self.assertIsNone(observer.wait_landed())

    def test_a_guest_that_does_not_run_is_not_asked_for_its_memory(
        self,
    ) -> None:
        observer = self.observe()
        observer.wait_landed(0.05)
        self.domain.memoryStats.assert_not_called()
        self.domain.state.return_value = RUNNING
        self.assertTrue(
            observer.wait_for(
                lambda view: view.destination.balloon_kib == 4096,
                SOON_SECONDS,
            )
        )

    def test_a_libvirtd_that_restarts_is_connected_to_anew(self) -> None:
        observer = self.observe()
        self.host.libvirt.side_effect = libvirt.libvirtError('down')
        self.connection.isAlive.return_value = False
        self.assertTrue(
            observer.wait_for(
                lambda view: view.destination.state is State.UNKNOWN,
                SOON_SECONDS,
            )
        )
        self.domain.state.return_value = RUNNING
        self.connection.isAlive.return_value = True
        self.host.libvirt.side_effect = None
        self.assertIsNotNone(observer.wait_landed(SOON_SECONDS))

    def test_what_a_guest_answered_counts_where_it_leaves_meanwhile(
        self,
    ) -> None:
        self.domain.state.return_value = RUNNING
        self.domain.jobStats.side_effect = libvirt.libvirtError('left')
        observer = self.observe()
        self.assertTrue(
            observer.wait_for(
                lambda view: view.destination.balloon_kib == 4096,
                SOON_SECONDS,
            )
        )

    def test_what_changes_seldom_is_asked_for_seldom(self) -> None:
        read = mock.Mock(spec=observers.memory, return_value={'rss_kib': 1})
        seldom = observers.seldom(read, 3600.0)
        self.assertEqual({'rss_kib': 1}, seldom(self.domain))
        self.assertEqual({}, seldom(self.domain))

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

"""Tests that run guests on the two hosts."""

from collections.abc import Callable
import datetime
import functools
from typing import ClassVar
import unittest

from oslo_config import cfg

from nova_freemem import conf as freemem_conf
from nova_freemem.migrate import engine as engines
from nova_freemem.restore import journal
from nova_freemem.virt import guest as guests
from tests.lab import guest as lab_guest
from tests.lab import host as lab_host
from tests.lab import room
from tests.lab import steps
from tests.lab import teardown
from tests.lab import virt


@functools.cache
def _room() -> None:
    """Bring the hosts up for all tests; down only if they were not up."""
    if not all(host.is_up for host in room.hosts()):
        # The databases are not this suite's, and the logs are wanted.
        teardown.at_exit(keep_databases=lambda: True)
    room.up()


class RoomTestCase(unittest.TestCase):
    """Boots guests for a class of tests, on the first host.

    A guest may be on another host after a test, so tests ask for it by name.
    """

    specs: ClassVar[tuple[virt.GuestSpec, ...]] = ()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        _room()
        first = room.hosts()[0]
        for spec in cls.specs:
            cls.addClassCleanup(_remove, spec.name)
            virt.boot(first, spec)
        for spec in cls.specs:
            virt.wait_booted(spec.name, spec.boot_seconds)

    def guest(self, name: str) -> lab_guest.Guest:
        """Find a guest whose agent answers."""
        _, handle = virt.find(name)
        found = lab_guest.Guest(handle)
        found.wait_ready()
        return found

    def domain(self, name: str) -> guests.Guest:
        """Find a guest, as the plugin sees it."""
        _, handle = virt.find(name)
        return guests.Guest(handle)

    def other_host(self, name: str) -> lab_host.Host:
        """Say where a guest is not."""
        where, _ = virt.find(name)
        return room.other(where)

    def wait_until(
        self, what: str, probe: Callable[[], object], seconds: float = 30
    ) -> None:
        """Wait until a probe is true; fail when the time is up."""
        try:
            steps.wait_for(probe, what, seconds, every_seconds=0.1)
        except TimeoutError as late:
            self.fail(str(late))


def host_engine() -> engines.Engine:
    """Make the engine of a host that releases before the transfer."""
    conf = cfg.ConfigOpts()
    freemem_conf.register_opts(conf)
    conf([])
    conf.set_override('enabled', True, freemem_conf.GROUP)
    conf.set_override('mode', 'before', freemem_conf.GROUP)
    return engines.Engine.from_conf(conf, '198.18.77.11')


def entry(original_kib: int) -> journal.JournalEntry:
    """Make a journal entry."""
    return journal.JournalEntry(
        original_kib=original_kib,
        source='freemem-host1',
        released_at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        migration='2c1f8a6e-0000-4000-8000-000000000001',
        stats_period_seconds=10,
    )


def _remove(name: str) -> None:
    try:
        _, domain = virt.find(name)
    except LookupError:
        return
    virt.remove(domain)

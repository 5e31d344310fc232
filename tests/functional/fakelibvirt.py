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

"""A fake libvirt: Nova's, extended by what the plugin asks of it.

A connection is a host, and migrations go from one to the other. What a
domain can do is in :mod:`tests.functional.fakedomain`.
"""

from collections.abc import Callable
from typing import Any
from typing import ClassVar

import fixtures
from lxml import etree
from nova.tests.fixtures import libvirt as nova_fake

from tests.functional import fakedomain

Transfer = Callable[[fakedomain.Domain], None]


class Connection(nova_fake.Connection):
    """One host's libvirtd, which can reach the others by their names."""

    hosts: ClassVar[dict[str, 'Connection']] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hosts[self.hostname] = self
        #: The transfer of a migration that leaves this host: it may raise.
        self.transfer: Transfer = lambda domain: None
        #: Whether a migration sends its first page as soon as it begins.
        self.sends_at_once = True
        #: What happens as Nova asks for a migration, before there is a job.
        self.before_job: Transfer = lambda domain: None
        #: Each call about a domain's memory, agent or metadata, in order:
        #: its name and arguments.
        self.calls: list[tuple[Any, ...]] = []

    def defineXML(self, xml: str) -> fakedomain.Domain:
        """Define a domain; a running one keeps running as it is."""
        name = etree.fromstring(xml).findtext('name')
        running = self._vms.get(name)
        if running is not None and running.isActive():
            running.persistent_xml = etree.fromstring(xml)
            running.persistent = True
            return running
        return super().defineXML(xml)


class FakeLibvirt(fixtures.Fixture):
    """Have Nova's fixtures make these hosts and domains, none at first."""

    def _setUp(self) -> None:
        for place, fake in (
            (f'{nova_fake.__name__}.Connection', Connection),
            (f'{nova_fake.__name__}.Domain', fakedomain.Domain),
            (f'{__name__}.Connection.hosts', {}),
        ):
            self.useFixture(fixtures.MonkeyPatch(place, fake))

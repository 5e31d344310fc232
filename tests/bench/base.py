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

"""What every way to migrate a guest has in common, and the plain one."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING
from typing import ClassVar

from tests.lab import steps
from tests.lab import virt

if TYPE_CHECKING:
    from tests.bench.migration import Migration


class Unable(steps.LabError):
    """A method cannot migrate this guest, and says why.

    That is a finding, and no failed run.
    """

    def __init__(self, why: str) -> None:
        super().__init__('migrate', why)


class Method(abc.ABC):
    """A way to migrate; one object for each migration.

    :cvar ends_with_job: whether the guest's memory is still on its way when
        the guest runs at the destination already, so that its migration ends
        with libvirt's job.
    :ivar told: what it reported, line by line.
    """

    ends_with_job: ClassVar[bool] = False

    def __init__(self) -> None:
        self.told: list[str] = []

    def spec(self, spec: virt.GuestSpec) -> virt.GuestSpec:
        """Tell how a guest is made that can be migrated this way.

        :param spec: how a guest is made for any other.
        :raises Unable: no such guest can be migrated this way.
        """
        return spec

    @abc.abstractmethod
    def at_source(self, migration: Migration) -> None:
        """Do what is done at the source; ``migration.transfer()`` in it.

        :raises Unable: this guest cannot be migrated this way.
        """

    @abc.abstractmethod
    def landed(self, migration: Migration) -> None:
        """Do what is done as soon as the guest runs at the destination.

        In a thread of its own, while the source may still be at work.
        """

    @abc.abstractmethod
    def at_destination(self, migration: Migration) -> None:
        """Do what is done once the transfer has ended at the source."""


class Plain(Method):
    """What Nova does without the plugin."""

    def at_source(self, migration: Migration) -> None:
        """Transfer."""
        migration.transfer()

    def landed(self, migration: Migration) -> None:
        """Do nothing: nothing was released."""

    def at_destination(self, migration: Migration) -> None:
        """Do nothing."""

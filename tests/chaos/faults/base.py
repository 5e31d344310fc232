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


"""What a fault is."""

import abc
from collections.abc import Iterator
import contextlib

from openstack import exceptions as sdk_exceptions

from tests.chaos.stage import Stage


class Fault(abc.ABC):
    """A fault; one object for each time it is injected.

    :ivar remarks: what else was done to recover from it, a few words each.
    """

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def prepare(self, stage: Stage) -> None:
        """Prepare the fault, so that injecting it takes no time."""
        del stage

    def arm(self, stage: Stage) -> float:
        """Start beforehand what cannot reach the guest in post-copy.

        :returns: the seconds until the fault happens by itself; 0 if it has
            to be injected.
        """
        del stage
        return 0.0

    @abc.abstractmethod
    def inject(self, stage: Stage) -> None:
        """Inject the fault.

        :raises Refusal: Nova refused it, and nothing was done.
        """

    def recover(self, stage: Stage) -> None:
        """Have the cloud recover, as its operator would."""
        del stage


class Refusal(Exception):
    """Nova refused a request; nothing was done."""


@contextlib.contextmanager
def refusable() -> Iterator[None]:
    """Make an error of Nova's API a refusal."""
    try:
        yield
    except sdk_exceptions.HttpException as refusal:
        raise Refusal(str(refusal.details or refusal)) from refusal

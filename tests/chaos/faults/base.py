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

from tests.chaos.stage import Stage


class Fault(abc.ABC):
    """Something that goes wrong; one object for each time it does."""

    def prepare(self, stage: Stage) -> None:
        """Get ready, so that it takes no time then; nothing happens yet."""
        del stage

    def arm(self, stage: Stage) -> float:
        """Begin what would not reach the guest in post-copy any more.

        :returns: the seconds until it happens by itself; 0 where nothing
            does.
        """
        del stage
        return 0.0

    @abc.abstractmethod
    def inflict(self, stage: Stage) -> None:
        """Do it.

        :raises Refusal: it is not possible now, and nothing was done.
        """

    def heal(self, stage: Stage) -> None:
        """End it, as whoever runs the cloud would."""
        del stage


class Refusal(Exception):
    """Nova would not have it; nothing was done."""

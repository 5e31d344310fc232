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

"""A guest has memory taken from it, on a machine that may be busy."""

from unittest import mock

import libvirt

from nova_freemem.virt import guest as guests
from tests import base
from tests.lab import outstanding
from tests.lab import steps

_MIB = 1024


class TakeTest(base.TestCase):
    """Of 768 MiB 300 are to be taken, and 50 will do."""

    def setUp(self) -> None:
        super().setUp()
        self.domain = mock.create_autospec(libvirt.virDomain, instance=True)
        self.domain.name.return_value = 'guest'
        self.actual(768)
        self.domain.XMLDesc.return_value = '<domain/>'
        self.set_balloon = self.patch_autospec(guests.Guest, 'set_balloon_kib')
        self.patch_autospec(steps, 'wait_for', side_effect=self.wait)
        self.taken_mib = 0

    def actual(self, mib: int) -> None:
        self.domain.memoryStats.return_value = {'actual': mib * _MIB}

    def wait(
        self, probe: object, what: str, seconds: float, every: float
    ) -> None:
        self.actual(768 - self.taken_mib)
        if not probe():  # type: ignore[operator]
            raise TimeoutError(what)

    def take(self, taken_mib: int, least_mib: int | None) -> list[int]:
        """:returns: the targets of the balloon, in MiB."""
        self.taken_mib = taken_mib
        self.set_balloon.reset_mock()
        self.actual(768)
        outstanding.take(
            self.domain,
            'host1',
            300 * _MIB,
            None if least_mib is None else least_mib * _MIB,
        )
        return [call.args[1] // _MIB for call in self.set_balloon.mock_calls]

    def test_all_of_it_is_taken(self) -> None:
        self.assertEqual([468], self.take(300, least_mib=50))

    def test_where_that_takes_long_what_has_come_stays_taken(self) -> None:
        self.assertEqual([468, 708], self.take(60, least_mib=50))

    def test_too_little_is_an_error(self) -> None:
        for taken_mib, least_mib in ((40, 50), (299 - 1, None)):
            self.assertRaises(
                steps.LabError, self.take, taken_mib, least_mib=least_mib
            )

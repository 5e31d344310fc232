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

"""What free page reporting returns to the host, and what it does not."""

from tests.lab import guest as lab_guest
from tests.lab import virt
from tests.libvirt import base

REPORTING = 'lab-reporting'
NOT_REPORTING = 'lab-not-reporting'
MEMORY_MIB = 512
FILL_MIB = 256
# Linux waits for 2 s before it reports; what is resident then stays.
REPORTED_SECONDS = '5'


class ReportingTest(base.RoomTestCase):
    """A guest as Nova >= 32 builds it, and one as Nova <= 31 did."""

    specs = (
        virt.GuestSpec(REPORTING, MEMORY_MIB, reporting=True),
        virt.GuestSpec(NOT_REPORTING, MEMORY_MIB),
    )

    def tearDown(self) -> None:
        for name in (REPORTING, NOT_REPORTING):
            self.guest(name).let_go()
        super().tearDown()

    def grown_by_kib(self, guest: lab_guest.Guest, before_kib: int) -> int:
        return guest.rss_kib() - before_kib

    def test_reported_memory_is_returned_to_the_host(self) -> None:
        guest = self.guest(REPORTING)
        before_kib = guest.rss_kib()
        guest.fill_dirty(FILL_MIB)
        self.wait_until(
            'reported memory has left the resident set',
            lambda: self.grown_by_kib(guest, before_kib) < FILL_MIB << 8,
        )

    def test_fragments_stay_resident(self) -> None:
        guest = self.guest(REPORTING)
        guest.fill_fragmented(FILL_MIB)
        resident_kib = guest.rss_kib()
        guest.do('sleep', REPORTED_SECONDS)
        self.assertAlmostEqual(resident_kib, guest.rss_kib(), delta=32 << 10)

    def test_page_cache_of_a_file_that_was_read_once(self) -> None:
        guest = self.guest(NOT_REPORTING)
        before = guest.meminfo()
        guest.fill_cache(FILL_MIB)
        after = guest.meminfo()
        cached_kib = after['Inactive(file)'] - before['Inactive(file)']
        self.assertAlmostEqual(FILL_MIB << 10, cached_kib, delta=32 << 10)
        self.assertLess(after['Dirty'], 1024)

    def test_freed_memory_stays_resident_without_reporting(self) -> None:
        guest = self.guest(NOT_REPORTING)
        guest.fill_dirty(FILL_MIB)
        resident_kib = guest.rss_kib()
        guest.do('sleep', REPORTED_SECONDS)
        self.assertAlmostEqual(resident_kib, guest.rss_kib(), delta=16 << 10)

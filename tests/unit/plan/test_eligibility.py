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

"""Whose memory is not released, each for a reason of its own."""

from lxml import etree

from nova_freemem.plan import eligibility
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.virt.memory_stats import MemoryStats
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB

BALLOON = MemoryStats(actual_kib=4 * GIB, rss_kib=3 * GIB)


def examine(
    *,
    running: bool = True,
    added: str = '',
    within: str = '.',
    balloon: MemoryStats | None = BALLOON,
    os_type: str | None = None,
) -> eligibility.Eligible | Skip:
    """Examine a guest as Nova makes it, with one element added."""
    description = etree.fromstring(fakes.DOMAIN_XML)
    if added:
        description.find(within).append(etree.fromstring(added))
    return eligibility.examine(running, description, balloon, os_type)


class EligibilityTest(base.TestCase):
    def assert_skipped(self, reason: Reason, **guest: object) -> None:
        decision = examine(**guest)
        self.assertIsInstance(decision, Skip)
        self.assertEqual(reason, decision.reason)

    def test_memory_of_an_ordinary_guest_may_be_released(self) -> None:
        self.assertEqual(
            eligibility.Eligible(4 * GIB, 3 * GIB, reports_free=True),
            examine(),
        )

    def test_windows_is_what_the_image_says_it_is(self) -> None:
        for os_type, windows in (
            (None, False),
            ('linux', False),
            ('windows', True),
        ):
            self.assertEqual(windows, examine(os_type=os_type).windows)

    def test_memtotal_shrinks_where_the_balloon_has_no_autodeflate(
        self,
    ) -> None:
        """Nova 31 and older define it so; Windows counts it as used."""
        old = etree.fromstring(
            fakes.DOMAIN_XML.replace(
                " autodeflate='on' freePageReporting='on'", ''
            )
        )
        for os_type, shrinks in ((None, True), ('windows', False)):
            guest = eligibility.examine(True, old, BALLOON, os_type)
            self.assertEqual(shrinks, guest.total_shrinks)
            self.assertFalse(guest.reports_free)
        self.assertFalse(examine().total_shrinks)

    def test_persistent_memory_is_not_in_the_balloon(self) -> None:
        pmem = """<memory model='nvdimm'>
          <source><path>/dev/dax0.0</path></source>
          <target><size unit='KiB'>2097152</size></target>
        </memory>"""
        description = fakes.DOMAIN_XML.replace(
            str(4 * GIB), str(6 * GIB), 1
        ).replace('</devices>', f'{pmem}</devices>')
        guest = eligibility.examine(
            True, etree.fromstring(description), BALLOON
        )
        self.assertEqual(
            eligibility.Eligible(
                4 * GIB, 3 * GIB, persistent_kib=2 * GIB, reports_free=True
            ),
            guest,
        )
        # All of it may be resident.
        self.assertEqual(
            1 * GIB - eligibility.QEMU_OWN_KIB, guest.resident_kib
        )

    def test_memory_that_was_plugged_in_is_in_the_balloon(self) -> None:
        dimm = """<memory model='dimm'>
          <target><size unit='KiB'>1048576</size></target>
        </memory>"""
        guest = examine(added=dimm, within='./devices')
        self.assertEqual(4 * GIB, guest.original_kib)
        self.assertEqual(0, guest.persistent_kib)

    def test_a_guest_that_nobody_could_watch(self) -> None:
        for reported, reason in (
            ({}, Reason.NO_BALLOON_DRIVER),
            ({'free_kib': 1}, None),
            ({'available_kib': 1}, None),
        ):
            skip = eligibility.unwatchable(MemoryStats(4 * GIB, **reported))
            self.assertEqual(reason, skip and skip.reason)

    def test_the_nodes_of_a_guest_are_counted(self) -> None:
        self.assertEqual(1, examine().nodes)
        cells = "<cpu><numa><cell id='0'/><cell id='1'/></numa></cpu>"
        self.assertEqual(2, examine(added=cells).nodes)

    def test_what_the_host_does_not_hold_is_nonresident(self) -> None:
        for rss_kib, nonresident_kib in ((3 * GIB, 1 * GIB), (5 * GIB, 0)):
            guest = examine(
                balloon=MemoryStats(
                    4 * GIB, rss_kib + eligibility.QEMU_OWN_KIB
                )
            )
            self.assertEqual(nonresident_kib, guest.nonresident_kib)

    def test_qemus_own_memory_is_not_the_guests(self) -> None:
        guest = examine(
            balloon=MemoryStats(4 * GIB, eligibility.QEMU_OWN_KIB - 1)
        )
        self.assertEqual(
            (0, 4 * GIB), (guest.resident_kib, guest.nonresident_kib)
        )

    def test_a_paused_guest_is_skipped(self) -> None:
        self.assert_skipped(Reason.NOT_RUNNING, running=False)

    def test_a_guest_without_balloon_is_skipped(self) -> None:
        self.assert_skipped(Reason.NO_BALLOON, balloon=None)

    def test_memory_that_cannot_be_discarded_is_skipped(self) -> None:
        for backing in (
            '<hugepages/>',
            '<locked/>',
            "<source type='file'/>",
            "<allocation mode='immediate'/>",
        ):
            self.assert_skipped(
                Reason.PINNED_MEMORY,
                added=f'<memoryBacking>{backing}</memoryBacking>',
            )

    def test_memory_that_can_be_discarded_is_not(self) -> None:
        for backing in (
            '<nosharepages/>',
            "<source type='memfd'/>",
            "<allocation mode='ondemand'/>",
        ):
            self.assertIsInstance(
                examine(added=f'<memoryBacking>{backing}</memoryBacking>'),
                eligibility.Eligible,
            )

    def test_a_guest_with_a_passed_through_device_is_skipped(self) -> None:
        for device in (
            "<hostdev mode='subsystem' type='pci'/>",
            "<interface type='hostdev'/>",
            "<interface type='vdpa'/>",
        ):
            self.assert_skipped(
                Reason.PASSTHROUGH_DEVICE, added=device, within='./devices'
            )

    def test_a_confidential_guest_is_skipped(self) -> None:
        for kind in ('sev', 'sev-snp', 'tdx'):
            self.assert_skipped(
                Reason.CONFIDENTIAL, added=f"<launchSecurity type='{kind}'/>"
            )

    def test_a_guest_of_unknown_resident_size_is_skipped(self) -> None:
        self.assert_skipped(
            Reason.NO_RSS, balloon=MemoryStats(actual_kib=4 * GIB)
        )

    def test_a_guest_ballooned_by_somebody_else_is_skipped(self) -> None:
        decision = examine(
            balloon=MemoryStats(actual_kib=3 * GIB, rss_kib=3 * GIB)
        )
        self.assertEqual(
            'something else has inflated the balloon (3145728 of 4194304 KiB)',
            str(decision),
        )

    def test_a_guest_that_left_little_in_its_balloon_is_released_again(
        self,
    ) -> None:
        decision = examine(balloon=MemoryStats(4 * GIB - 1024, 3 * GIB))
        self.assertEqual(4 * GIB, decision.original_kib)
        self.assert_skipped(
            Reason.BALLOONED_ALREADY,
            balloon=MemoryStats(4 * GIB - 1025, 3 * GIB),
        )

    def test_a_reason_without_figures_is_one_clause(self) -> None:
        self.assertEqual(
            'the guest is not running',
            str(Skip(Reason.NOT_RUNNING)),
        )

    def test_no_two_reasons_read_the_same(self) -> None:
        self.assertEqual(len(Reason), len({each.value for each in Reason}))

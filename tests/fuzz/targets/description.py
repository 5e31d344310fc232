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


"""The domain's XML: eligibility, and the period of the statistics."""

from nova_freemem.plan import eligibility
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from nova_freemem.virt import memory_stats
from nova_freemem.virt.memory_stats import MemoryStats
from tests.fuzz import handle
from tests.fuzz import oracle
from tests.simulation import fakes

MODULES = ('nova_freemem.plan.eligibility', 'nova_freemem.virt.domain_xml')

_BALLOON = MemoryStats(actual_kib=4 * fakes.GIB, rss_kib=2 * fakes.GIB)
_SIGNS = (
    '<hostdev/>',
    "<memballoon><stats period='{}'/></memballoon>",
    "<interface type='vdpa'/>",
)


def seeds() -> list[bytes]:
    """:returns: the domain of a guest of Nova's, and parts of others."""
    return [
        text.encode()
        for text in (
            fakes.DOMAIN_XML,
            *(
                f"<domain><memory unit='KiB'>4194304</memory><devices>{sign}"
                '</devices></domain>'
                for sign in _SIGNS
            ),
            '<domain><memory>' + '9' * 4400 + '</memory><memoryBacking>'
            "<source type='file'/></memoryBacking></domain>",
        )
    ]


def run(data: bytes) -> None:
    """Examine a domain.

    :param data: its XML.
    """
    with handle.fake_time() as clock, oracle.only_own_errors():
        guest = handle.Handle(clock)
        guest.xml = data.decode(errors='replace')
        description = guests.Guest(guest).xml()
        decision = eligibility.examine(True, description, _BALLOON)
        if isinstance(decision, eligibility.Eligible):
            assert (
                abs(decision.original_kib - _BALLOON.actual_kib)
                <= memory_stats.TOLERANCE_KIB
            )
        else:
            oracle.check_harmless(str(decision))
        seconds = domain_xml.stats_period_seconds(description)
        assert 0 <= seconds < 1 << 31, f'a period of {seconds} s'

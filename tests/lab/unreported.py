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

"""A guest that does not report its free pages.

Nova >= 32 gives every new balloon ``autodeflate`` and ``freePageReporting``,
and has no option against it. A guest without them is one that Nova <= 31
built and that has not been rebuilt since the upgrade. The lab makes such a
domain in the same way: the same XML without the two attributes.
(A kernel parameter does not do: Linux refuses values of
``page_reporting.page_reporting_order`` that would switch reporting off.)
"""

import libvirt
from lxml import etree

_SINCE_NOVA_32 = ('autodeflate', 'freePageReporting')


def without(description: str) -> str:
    """Take the attributes from a domain's XML that Nova <= 31 did not write.

    :param description: a domain's XML.
    :returns: the XML of the domain as Nova 31 would have built it.
    """
    domain = etree.fromstring(description)
    for balloon in domain.iterfind('devices/memballoon'):
        for attribute in _SINCE_NOVA_32:
            if attribute in balloon.attrib:
                del balloon.attrib[attribute]
    return etree.tostring(domain, encoding='unicode')


def reports(domain: libvirt.virDomain) -> bool:
    """Tell whether a guest's balloon reports free pages."""
    balloon = etree.fromstring(domain.XMLDesc()).find('devices/memballoon')
    return balloon is not None and balloon.get('freePageReporting') == 'on'


def take_away(domain: libvirt.virDomain) -> None:
    """Start a guest anew whose balloon does not report free pages.

    It is ended right after its start, when it has done nothing yet. Nova
    waits 15 s before it believes that a guest has stopped, in case it is
    being rebooted, and by then it runs again.
    """
    description = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    domain.destroy()
    domain.connect().defineXML(without(description))
    domain.create()

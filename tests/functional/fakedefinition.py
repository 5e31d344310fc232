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

"""What a fake libvirt domain is: state, definitions, metadata, errors."""

import copy
from typing import Any

from lxml import etree
from nova.tests.fixtures import libvirt as nova_fake

from tests.functional import fakeguest


def error(name: str, message: str) -> nova_fake.libvirtError:
    """The exception libvirt would raise.

    :param name: of libvirt's error code
    :param message: libvirt's text
    """
    return nova_fake.make_libvirtError(
        nova_fake.libvirtError,
        message,
        error_code=getattr(nova_fake, name),
        error_domain=nova_fake.VIR_FROM_QEMU,
        error_message=message,
    )


class DefinedDomain(nova_fake.Domain):
    """A domain with its live and its persistent definition."""

    def __init__(self, connection: Any, xml: str, **kwargs: Any):
        super().__init__(connection, xml, **kwargs)
        self.live_xml = etree.fromstring(xml)
        self.guest = fakeguest.CapturedGuest(
            int(self.live_xml.findtext('memory'))
        )
        if self.live_xml.find('currentMemory') is None:
            set_current_memory(self.live_xml, self.guest.memory_kib)
        self.persistent_xml = copy.deepcopy(self.live_xml)
        self.persistent = True
        #: Calls that fail for no reason of the guest's.
        self.broken: set[str] = set()

    def XMLDesc(self, flags: int = 0) -> str:
        """Its definition, live or persistent."""
        if flags & nova_fake.VIR_DOMAIN_XML_INACTIVE or not self.isActive():
            return etree.tostring(self.persistent_xml, encoding='unicode')
        set_current_memory(self.live_xml, self.guest.actual_kib)
        return etree.tostring(self.live_xml, encoding='unicode')

    def definitions(self, flags: int) -> list[etree._Element]:
        """Those a call with these flags reads or changes."""
        if flags == nova_fake.VIR_DOMAIN_AFFECT_CURRENT:
            flags = nova_fake.VIR_DOMAIN_AFFECT_LIVE
        chosen = []
        if flags & nova_fake.VIR_DOMAIN_AFFECT_LIVE:
            chosen.append(self.live_xml)
        if flags & nova_fake.VIR_DOMAIN_AFFECT_CONFIG:
            if not self.persistent:
                raise error(
                    'VIR_ERR_OPERATION_INVALID',
                    'Requested operation is not valid: transient domains do '
                    'not have any persistent config',
                )
            chosen.append(self.persistent_xml)
        return chosen

    def metadata(self, kind: int, uri: str, flags: int = 0) -> str:
        """What was written under a namespace, without the namespace."""
        self._must_exist()
        found = self.definitions(flags)[0].find(f'metadata/{{{uri}}}*')
        if found is None:
            raise error(
                'VIR_ERR_NO_DOMAIN_METADATA',
                'metadata not found: no such metadata element',
            )
        element = copy.deepcopy(found)
        for node in element.iter():
            node.tag = etree.QName(node).localname
        element.tail = None
        etree.cleanup_namespaces(element)
        return etree.tostring(element, encoding='unicode')

    def setMetadata(
        self,
        kind: int,
        metadata: str | None,
        key: str | None,
        uri: str,
        flags: int = 0,
    ) -> int:
        """Write under a namespace, or remove what is there."""
        self._change('setMetadata', metadata, flags)
        for definition in self.definitions(flags):
            parent = definition.find('metadata')
            if parent is None:
                parent = etree.SubElement(definition, 'metadata')
            for old in parent.findall(f'{{{uri}}}*'):
                parent.remove(old)
            if metadata is not None:
                parent.append(_in_namespace(metadata, str(key), uri))
        return 0

    def isPersistent(self) -> int:
        """Whether it has a persistent definition."""
        self._must_exist()
        return int(self.persistent)

    def undefineFlags(self, flags: int) -> None:
        """Remove its definition, and all of a domain that does not run."""
        if self.isActive():
            self.persistent = False
        else:
            super().undefineFlags(flags)

    def isActive(self) -> int:
        """Whether it runs."""
        self._must_exist()
        return int(
            self._state
            in (nova_fake.VIR_DOMAIN_RUNNING, nova_fake.VIR_DOMAIN_PAUSED)
        )

    def state(self, flags: int = 0) -> list[int]:
        """Its state and the reason for it (not told by this fake)."""
        self._must_exist()
        return [self._state, 0]

    def _must_exist(self) -> None:
        if self._connection._vms.get(self.name()) is not self:
            raise error(
                'VIR_ERR_NO_DOMAIN',
                'Domain not found: no domain with matching uuid',
            )

    def _must_run(self) -> None:
        if not self.isActive():
            raise error(
                'VIR_ERR_OPERATION_INVALID',
                'Requested operation is not valid: domain is not running',
            )

    def _called(self, *call: Any) -> None:
        """Record a call; fail it if the test said so."""
        self._connection.calls.append(call)
        if call[0] in self.broken:
            raise error(
                'VIR_ERR_INTERNAL_ERROR', 'internal error: as the test has it'
            )

    def _change(self, *call: Any) -> None:
        """Record a call that libvirt refuses while a migration runs."""
        self._must_exist()
        self._called(*call)
        if self._job_type == nova_fake.VIR_DOMAIN_JOB_UNBOUNDED:
            raise error(
                'VIR_ERR_OPERATION_TIMEOUT',
                'Timed out during operation: cannot acquire state change lock',
            )


def set_current_memory(xml: etree._Element, kib: int) -> None:
    """Write the balloon's size into a definition."""
    current = xml.find('currentMemory')
    if current is None:
        current = etree.Element('currentMemory')
        xml.find('memory').addnext(current)
    current.text = str(kib)
    current.set('unit', 'KiB')


def _in_namespace(metadata: str, key: str, uri: str) -> etree._Element:
    element = etree.fromstring(metadata)
    for node in element.iter():
        node.tag = f'{{{uri}}}{etree.QName(node).localname}'
    wrapped = etree.Element(element.tag, element.attrib, nsmap={key: uri})
    wrapped.text = element.text
    wrapped.extend(list(element))
    return wrapped

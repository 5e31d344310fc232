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

"""The hosts' certificates are such as QEMU accepts of each other."""

import pathlib
import subprocess
from unittest import mock

import fixtures

from tests import base
from tests.lab import certificates
from tests.lab import layout


class CertificatesTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.hosts = layout.hosts_of(layout.Lab(state=path, cache=path))
        self.enterContext(mock.patch.object(layout, 'HOSTS', self.hosts))
        for host in self.hosts.values():
            certificates.folder(host).mkdir(parents=True)
        certificates.make()

    def _verified(
        self, host: layout.HostLayout, side: str, address: str
    ) -> bool:
        """Verify a host's certificate as the other host does."""
        (other,) = (one for one in self.hosts.values() if one != host)
        done = subprocess.run(
            [
                *('openssl', 'verify', '-x509_strict'),
                *('-CAfile', certificates.folder(other) / 'ca-cert.pem'),
                *('-purpose', f'ssl{side}', '-verify_ip', address),
                certificates.folder(host) / f'{side}-cert.pem',
            ],
            capture_output=True,
        )
        return done.returncode == 0

    def test_each_host_knows_the_other_by_its_address_on_the_link(
        self,
    ) -> None:
        for host in self.hosts.values():
            for side in ('server', 'client'):
                for address, known in (
                    (host.link_address, True),
                    (host.control_address, False),
                ):
                    self.assertEqual(
                        known, self._verified(host, side, address), host.name
                    )

    def test_nobody_else_reads_a_key(self) -> None:
        for host in self.hosts.values():
            for key in certificates.folder(host).glob('*-key.pem'):
                self.assertEqual(0o600, key.stat().st_mode & 0o777)

    def test_they_are_made_once(self) -> None:
        (one, _other) = self.hosts.values()
        certificate = certificates.folder(one) / 'server-cert.pem'
        before = certificate.read_bytes()
        certificates.make()
        self.assertEqual(before, certificate.read_bytes())

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

"""Certificates with which QEMU encrypts migrations between the hosts.

They are made when they are asked for, and end with the lab.
"""

import pathlib
import shutil
import tempfile

from tests.lab import layout
from tests.lab import packages

#: Where the host's QEMU looks for them, as the host sees it.
FOLDER = '/etc/libvirt/pki'

_DAYS = '30'

# What GnuTLS, which QEMU uses, wants of a certificate authority, and of a
# host, which is the server of one migration and the client of another.
_AUTHORITY = (
    'basicConstraints=critical,CA:TRUE',
    'keyUsage=critical,keyCertSign,cRLSign',
)
_HOST = (
    'basicConstraints=critical,CA:FALSE',
    'keyUsage=critical,digitalSignature,keyEncipherment',
    'extendedKeyUsage=serverAuth,clientAuth',
)


def folder(host: layout.HostLayout) -> pathlib.Path:
    """Return where a host's certificates are, as this machine sees it."""
    return host.folder / 'etc-libvirt' / 'pki'


def make() -> None:
    """Give each host a certificate, unless it has one.

    QEMU reads them as a migration begins: nothing has to be restarted.

    :raises RuntimeError: openssl failed.
    """
    hosts = list(layout.HOSTS.values())
    if all((folder(host) / 'ca-cert.pem').exists() for host in hosts):
        return
    with tempfile.TemporaryDirectory() as scratch:
        key = pathlib.Path(scratch) / 'ca-key.pem'
        authority = pathlib.Path(scratch) / 'ca-cert.pem'
        _openssl(key, authority, 'lab', _AUTHORITY)
        for host in hosts:
            place = folder(host)
            names = f'DNS:{host.hostname},IP:{host.link_address}'
            key_here, here = (
                place / 'server-key.pem',
                place / 'server-cert.pem',
            )
            _openssl(
                *(key_here, here, host.hostname),
                (*_HOST, f'subjectAltName={names}'),
                *('-CA', str(authority), '-CAkey', str(key)),
            )
            shutil.copy(key_here, place / 'client-key.pem')
            shutil.copy(here, place / 'client-cert.pem')
            # Last: with it, a host has all that it needs.
            shutil.copy(authority, place / 'ca-cert.pem')


def _openssl(
    key: pathlib.Path,
    certificate: pathlib.Path,
    name: str,
    extensions: tuple[str, ...],
    *signed_by: str,
) -> None:
    """Make a key and its certificate, which signs itself by default."""
    packages.run(
        *('openssl', 'req', '-x509', '-nodes', '-days', _DAYS),
        *('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'),
        *('-subj', f'/CN={name}', '-keyout', str(key)),
        *('-out', str(certificate), '-config', '/dev/null'),
        *(word for one in extensions for word in ('-addext', one)),
        *signed_by,
    )

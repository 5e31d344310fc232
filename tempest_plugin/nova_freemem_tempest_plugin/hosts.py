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

"""The compute hosts, as libvirt and their operator see them."""

from __future__ import annotations

from collections.abc import Mapping
import re
import shlex
import subprocess

from tempest import config

CONF = config.CONF

# Where nova-freemem says in a domain that memory is outstanding.
_JOURNAL_URI = 'urn:nova-freemem:journal'
_VIRSH_SECONDS = 60
_RESTART_SECONDS = 300


class CommandFailed(Exception):
    """A command on a host, or in a guest, failed."""


def uris() -> Mapping[str, str]:
    """Return the URI of each host's libvirt, by its name in Nova.

    :returns: nothing where the tests are to leave the domains alone
    """
    found: Mapping[str, str] = CONF.nova_freemem.libvirt_uris
    return found


def virsh(host: str, *arguments: str) -> str:
    """Run virsh for a host.

    :param host: its name in Nova
    :param arguments: of virsh
    :returns: what it wrote
    :raises CommandFailed: it failed
    """
    return _run(
        ['virsh', '--quiet', '--connect', uris()[host], *arguments],
        _VIRSH_SECONDS,
    )


def restart_nova_compute(host: str) -> None:
    """Restart nova-compute, and wait until it is up.

    :param host: its name in Nova
    :raises CommandFailed: it failed
    """
    command = CONF.nova_freemem.restart_command
    words = [
        word.replace('{host}', host) for word in shlex.split(command or '')
    ]
    _run(words, _RESTART_SECONDS)


def outstanding() -> list[str]:
    """Find domains that do not have all their memory, or a journal entry.

    :returns: one sentence for each thing found on any host
    """
    found = []
    for host in uris():
        for domain in virsh(host, 'list', '--uuid').split():
            where = f'{domain} on {host}'
            if _has_journal_entry(host, domain):
                found.append(f'{where} has a journal entry')
            given, actual = _memory_kib(host, domain)
            if actual != given:
                found.append(f'{where} has {actual} of {given} KiB')
    return found


def _has_journal_entry(host: str, domain: str) -> bool:
    return f"'{_JOURNAL_URI}'" in virsh(host, 'dumpxml', domain).replace(
        '"', "'"
    )


def _memory_kib(host: str, domain: str) -> tuple[int, int]:
    """Read the memory that a domain was given, and what its balloon leaves."""
    given = re.search(
        r"<memory unit='KiB'>(\d+)</memory>", virsh(host, 'dumpxml', domain)
    )
    actual = re.search(
        r'^actual (\d+)$', virsh(host, 'dommemstat', domain), re.MULTILINE
    )
    if given is None or actual is None:
        raise CommandFailed(f'virsh does not tell the memory of {domain}')
    return int(given[1]), int(actual[1])


def _run(command: list[str], seconds: float) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(
            f'{shlex.join(command)}: {done.returncode}: {done.stderr.strip()}'
        )
    return done.stdout

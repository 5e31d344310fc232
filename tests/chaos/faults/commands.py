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


"""An operator runs commands of ``nova-freemem`` beside nova-compute."""

import argparse
import threading

from nova_freemem.cli import repair
from nova_freemem.cli import restore
from nova_freemem.cli import restoring
from tests.chaos import arguments
from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import room

_WAIT_SECONDS = 10


class _Command(base.Fault):
    """A command is run on both hosts, at once.

    It is called and not started as a process, which would take a second and
    come too late for most phases.
    """

    def prepare(self, stage: Stage) -> None:
        """Parse the arguments beforehand."""
        self._calls = [
            self._parsed(stage, host.layout.libvirt_uri)
            for host in room.hosts()
        ]
        self._running: list[threading.Thread] = []

    def _parsed(
        self, stage: Stage, uri: str
    ) -> tuple[restoring.RestoringCommand, argparse.Namespace]:
        command, words = self._words(stage)
        parser = command.get_parser('nova-freemem')
        options = ['--uri', uri, '--wait-seconds', str(_WAIT_SECONDS)]
        return command, parser.parse_args([*words, *options])

    def _words(
        self, stage: Stage
    ) -> tuple[restoring.RestoringCommand, list[str]]:
        raise NotImplementedError

    def inject(self, stage: Stage) -> None:
        """Start it on both hosts."""
        self._running = [
            threading.Thread(target=command.run, args=(parsed,), daemon=True)
            for command, parsed in self._calls
        ]
        for one in self._running:
            one.start()

    def recover(self, stage: Stage) -> None:
        """Wait for both to end."""
        for one in self._running:
            one.join()


class Restore(_Command):
    """``nova-freemem restore --all``."""

    def _words(
        self, stage: Stage
    ) -> tuple[restoring.RestoringCommand, list[str]]:
        return restore.Restore(None, None), ['--all']


class Repair(_Command):
    """``nova-freemem repair``, with the memory of the guest's flavor."""

    def _words(
        self, stage: Stage
    ) -> tuple[restoring.RestoringCommand, list[str]]:
        memory = str(arguments.MEMORY_MIB)
        words = [stage.server.id, '--memory-mib', memory]
        return repair.Repair(None, None), words

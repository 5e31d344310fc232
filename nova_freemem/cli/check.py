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

"""``nova-freemem check``: whether this host is set up."""

from __future__ import annotations

import argparse

from cliff import lister

from nova_freemem.cli import base
from nova_freemem.cli import compute_host
from nova_freemem.cli import setup

COLUMNS = ('check', 'result', 'details')


class Check(compute_host.ComputeHostCommand, lister.Lister):
    """Check whether this host is set up to release and restore memory.

    Nothing is changed. Each line says what was looked at, whether it is well,
    and what to do where it is not. The exit code is 0 if all is well, 1 with
    a warning, and 2 with a failure. "nova-freemem-status upgrade check" shows
    the same.
    """

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Return the worst result as the exit code.

        See :meth:`cliff.command.Command.run`.
        """
        self._worst = base.DONE
        return super().run(parsed_args) or self._worst

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """See :meth:`cliff.lister.Lister.take_action`."""
        found = [(one.name, one.verdict(self.here)) for one in setup.CHECKS]
        self._worst = max(int(verdict.code) for _name, verdict in found)
        return COLUMNS, [
            (name, verdict.code.name.lower(), verdict.details)
            for name, verdict in found
        ]

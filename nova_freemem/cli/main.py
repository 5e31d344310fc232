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

"""The entry point of ``nova-freemem``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import metadata
import sys
from typing import Any

from cliff import app
from cliff import commandmanager

from nova_freemem.cli import base

NAMESPACE = 'nova_freemem.cli'


class _Shell(app.App):
    """The app, whose errors are one line on standard error."""

    def build_option_parser(
        self, *args: Any, **kwargs: Any
    ) -> argparse.ArgumentParser:
        """See :meth:`cliff.app.App.build_option_parser`."""
        return base.in_one_line(super().build_option_parser(*args, **kwargs))

    def run_subcommand(self, argv: list[str]) -> int:
        """See :meth:`cliff.app.App.run_subcommand`."""
        try:
            self.command_manager.find_command(argv)
        except ValueError:
            names = ', '.join(sorted(name for name, _ in self.command_manager))
            base.print_error(
                f'nova-freemem: no such command: {argv[0]!r}; the commands '
                f'are {names}'
            )
            return base.REFUSED
        return int(super().run_subcommand(argv))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line, None for the process's own
    :returns: 0: done; 1: something could not be done; 2: refused, and
              nothing was changed
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    shell = _Shell(
        'Show and restore outstanding memory of the guests of this host.',
        metadata.version('nova-freemem'),
        commandmanager.CommandManager(NAMESPACE),
        # Without it, "--help" of a command shows the help of the app.
        deferred_help=True,
    )
    return shell.run(list(arguments) or ['help'])

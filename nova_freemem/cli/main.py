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

from collections.abc import Sequence
from importlib import metadata
import sys

from cliff import app
from cliff import commandmanager

NAMESPACE = 'nova_freemem.cli'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line, None for the process's own
    :returns: 0: done; 1: something could not be done; 2: refused, and
              nothing was changed
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    shell = app.App(
        'Show and restore outstanding memory of the guests of this host.',
        metadata.version('nova-freemem'),
        commandmanager.CommandManager(NAMESPACE),
        # Without it, "--help" of a command shows the help of the app.
        deferred_help=True,
    )
    return shell.run(list(arguments) or ['help'])

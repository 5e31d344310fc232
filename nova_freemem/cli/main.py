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

"""Where the command begins."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
import sys

from cliff import app
from cliff import commandmanager

NAMESPACE = 'nova_freemem.cli'


def main(words: Sequence[str] | None = None) -> int:
    """Run the command.

    :param words: its arguments, None for those of the process
    :returns: 0: done; 1: something could not be done; 2: refused, and
              nothing was changed
    """
    words = sys.argv[1:] if words is None else words
    shell = app.App(
        'Give guests of this host the memory that they are owed.',
        metadata.version('nova-freemem'),
        commandmanager.CommandManager(NAMESPACE),
    )
    return shell.run(list(words) or ['help'])

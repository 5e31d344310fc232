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

"""Stories that are told on eventlet, in a process of their own.

It patches the standard library, and Nova 31 to 33 run on it.
"""

import subprocess
import sys

from tests import base


def told(
    test: base.TestCase, module: str, seconds: float, *arguments: str
) -> list[str]:
    """Run a module in a process, which succeeds.

    :param test: fails if it does not
    :param module: it is run as a script
    :param seconds: how long it may take
    :param arguments: the script's
    :returns: the words that it printed
    """
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', module, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    test.assertEqual(0, done.returncode, done.stderr)
    return done.stdout.split()

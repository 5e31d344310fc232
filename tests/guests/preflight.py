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

"""Can this machine measure guests, before anything is changed?

``python3 -m tests.guests.preflight ...`` with the words of tools/guests.sh;
the standard library alone.
"""

import sys

from tests.guests import arguments
from tests.lab import preflight


def needed(words: list[str]) -> preflight.Need:
    """Judge the words of the command, and say what it takes.

    :raises Refused: an argument is wrong.
    """
    largest_mib = max(one.memory_mib for one in arguments.parse(words).cases)
    return preflight.Need(largest_mib, preflight.ROOM_MIB, alone=True)


if __name__ == '__main__':
    sys.exit(preflight.main(needed))

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

"""The lab's command: python -m tests.lab up|down|status|boot|fill|..."""

import sys

from tests.lab import errors
from tests.lab import preflight


def main() -> int:
    """Do what the command line says.

    :returns: 0; 1 where a step failed; 2 where the request was refused,
        with nothing changed.
    """
    words = sys.argv[1:]
    try:
        preflight.refuse(words)
    except errors.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    # Only now: these take a second to import.
    from tests.lab import cli

    return cli.run(words)


if __name__ == '__main__':
    sys.exit(main())

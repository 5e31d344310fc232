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

"""How a command of a harness ends, whatever it does."""

from collections.abc import Callable
from collections.abc import Sequence
import signal
import sys

import libvirt

from tests.lab import steps


def run(act: Callable[[Sequence[str]], int]) -> int:
    """Do what the command line says; SIGTERM ends it as Ctrl-C does.

    :param act: is given the words of the command line, returns an exit code.
    :returns: that; 1 where a step failed; 2 where the request was refused and
        nothing has been changed; 130, as a shell says it, if it was
        interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return act(sys.argv[1:])
    except steps.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except (steps.LabError, libvirt.libvirtError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130

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

"""What the command accepts, by the standard library."""

import argparse
from collections.abc import Sequence

from tests.bench import arguments as bench_arguments
from tests.bench import matrix
from tests.guests import cases
from tests.lab import arguments as lab_arguments

#: The file of the figures unless another is asked for.
JSON = 'guests.json'

#: Without the plugin, and with it as it is by default.
METHODS = ('plain', 'freemem')
PLAIN, FREEMEM = METHODS

_ROUNDS, _QUICK_ROUNDS = 3, 1


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of a command.

    :raises Refused: an argument is wrong.
    """
    parser = lab_arguments.Parser(prog='tools/guests.sh')
    parser.add_argument(
        '--case',
        nargs='+',
        choices=tuple(cases.CASES),
        help='only these cases',
    )
    parser.add_argument(
        '--method',
        nargs='+',
        choices=(*METHODS, *matrix.PEERS),
        help=f'how each case is migrated (default: {" ".join(METHODS)};'
        f' {FREEMEM} with --quick)',
    )
    parser.add_argument(
        '--rounds',
        metavar='N',
        type=bench_arguments.rounds_of_text,
        help='how often each case is measured with each method (default:'
        f' {_ROUNDS}, {_QUICK_ROUNDS} with --quick)',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='whether the plugin hurts a guest, and not how quick it is: only'
        f' {", ".join(cases.QUICK)}, one round, in one guest',
    )
    parser.add_argument(
        '--json',
        metavar='FILE',
        type=bench_arguments.file,
        default=JSON,
        help=f'write the figures to FILE (default: {JSON}), and a picture'
        ' beside it',
    )
    request = parser.parse_args(words)
    if request.quick and request.method:
        parser.error(f'--quick is of {FREEMEM} alone')
    chosen = request.case or (cases.QUICK if request.quick else cases.CASES)
    request.cases = [cases.CASES[name] for name in dict.fromkeys(chosen)]
    usual = (FREEMEM,) if request.quick else METHODS
    request.methods = tuple(dict.fromkeys(request.method or usual))
    if request.rounds is None:
        request.rounds = _QUICK_ROUNDS if request.quick else _ROUNDS
    return request

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


"""The process that one target is fuzzed in: it never returns."""

import logging
import sys

import atheris

with atheris.instrument_imports(include=['nova_freemem']):
    from tests.fuzz import targets

    target = targets.load(sys.argv.pop(1))


def main() -> None:
    """Pass the target, and all other arguments, to libFuzzer."""
    logging.disable(logging.NOTSET)
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()


if __name__ == '__main__':
    main()

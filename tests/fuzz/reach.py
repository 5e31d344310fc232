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


"""Which lines of the target's modules its corpus reaches."""

import pathlib
import sys

import coverage

from tests.fuzz import targets


def percent(name: str, corpus: pathlib.Path) -> float:
    """Run a corpus and count the lines that are reached.

    :param name: the target.
    :param corpus: the folder of inputs to run.
    :returns: reached lines, in percent of those of the target's modules.
    """
    # The modules are imported while coverage runs, or the lines that define
    # their functions would count as not reached.
    for module in [
        one
        for one in sys.modules
        if one.split('.')[0] in ('nova_freemem', 'tests') and one != __name__
    ]:
        del sys.modules[module]
    measure = coverage.Coverage(data_file=None, config_file=False)
    with measure.collect():
        target = targets.load(name)
        for path in sorted(corpus.iterdir()):
            target.run(path.read_bytes())
    reached = missing = 0
    for module in target.MODULES:
        _name, lines, _left_out, not_reached, _text = measure.analysis2(
            sys.modules[module].__file__
        )
        reached += len(lines) - len(not_reached)
        missing += len(not_reached)
    return 100 * reached / (reached + missing)


if __name__ == '__main__':
    print(percent(sys.argv[1], pathlib.Path(sys.argv[2])))

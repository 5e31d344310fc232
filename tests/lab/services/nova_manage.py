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

"""Fill Nova's databases: python -m tests.lab.services.nova_manage FILE.

What ``nova-manage api_db sync``, ``cell_v2 map_cell0``, ``cell_v2
create_cell`` and ``db sync`` do, by the same classes, in one process: each
of the four would take its seconds to import Nova.
"""

import sys

from nova import config
from nova import objects
from nova.cmd import manage

_CELL_IS_THERE = 2  # From an earlier run; create_cell's documented answer.


def main() -> int:
    """Make the tables and the two cells, unless they are there.

    :returns: the exit code of the first that failed, or 0.
    """
    config.parse_args(['nova-manage', f'--config-file={sys.argv[1]}'])
    objects.register_all()
    cells = manage.CellV2Commands()
    for step, accepted in (
        (manage.ApiDbCommands().sync, ()),
        (cells.map_cell0, ()),
        (lambda: cells.create_cell(name='cell1'), (_CELL_IS_THERE,)),
        (manage.DbCommands().sync, ()),
    ):
        result = step() or 0
        if result and result not in accepted:
            return int(result)
    return 0


if __name__ == '__main__':
    sys.exit(main())

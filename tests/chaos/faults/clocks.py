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


"""The clock of one nova-compute jumps.

The hosts of the lab share the clock of this machine, which must not be set.
A library that is loaded into the process changes the time that it reads.
"""

import hashlib
import pathlib
import struct
import subprocess

from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import compute
from tests.lab import layout

_SOURCE = pathlib.Path(__file__).with_name('clock.c')
_HOUR_SECONDS = 3600
_END_SECONDS = 60


class Jumped(base.Fault):
    """The time is an hour later, on the source."""

    def prepare(self, stage: Stage) -> None:
        """Restart nova-compute with a clock that can be set."""
        _set_offset(0)
        _restart(
            stage,
            {
                'LD_PRELOAD': str(library()),
                'FREEMEM_CLOCK_OFFSET': str(_offset_file()),
            },
        )

    def inject(self, stage: Stage) -> None:
        """Set its clock."""
        _set_offset(_HOUR_SECONDS)

    def recover(self, stage: Stage) -> None:
        """Restart nova-compute with the real clock, after the migration."""
        stage.wait_idle(_END_SECONDS)
        _restart(stage, {})


def library() -> pathlib.Path:
    """Compile the library, unless it is in the cache.

    :returns: where it is.
    """
    code = _SOURCE.read_bytes()
    name = f'clock-{hashlib.sha256(code).hexdigest()[:16]}.so'
    made = layout.LAB.cache / name
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror']
        scratch = made.with_suffix('.new')
        subprocess.run(
            ['gcc', *flags, '-o', str(scratch), str(_SOURCE)], check=True
        )
        scratch.rename(made)
    return made


def _offset_file() -> pathlib.Path:
    return layout.LAB.run / 'clock-offset'


def _set_offset(seconds: int) -> None:
    """Write by how much the clock is off to the file that is mapped."""
    with _offset_file().open('r+b' if _offset_file().exists() else 'wb') as f:
        f.write(struct.pack('=q', seconds))


def _restart(stage: Stage, env: dict[str, str]) -> None:
    one: compute.Compute = stage.compute('source')
    one.stop()
    one.environment.clear()
    one.environment.update(env)
    stage.start_computes()

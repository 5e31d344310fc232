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


"""One target is fuzzed for a while."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import time

from tests.fuzz import targets

# Beyond these an input makes the process grow without limit, or hang. On a
# busy machine it may only wait for a processor: the oracle limits its time.
RSS_MIB = 1024
HANG_SECONDS = 120

LONGEST_INPUT_BYTES = 16 * 1024


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of one target.

    :ivar executions: how often it was run.
    :ivar seconds: for how long.
    :ivar edges: of the code that was reached, counted by libFuzzer.
    :ivar lines_percent: lines of the target's modules that the corpus reaches;
        None if there is a finding.
    :ivar rss_mib: the most memory the process had.
    :ivar finding: the input that does harm; None if there is none.
    """

    target: str
    executions: int
    seconds: float
    edges: int
    lines_percent: float | None
    rss_mib: int
    finding: str | None

    @property
    def per_second(self) -> float:
        """Executions a second."""
        return self.executions / self.seconds


def fuzz(name: str, seconds: int, place: pathlib.Path) -> Result:
    """Fuzz a target until its time is up or there is a finding.

    :param name: the target.
    :param seconds: how long.
    :param place: where corpora and findings are kept from run to run.
    """
    corpus, findings = (place / kind / name for kind in ('corpus', 'findings'))
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(targets.load(name).seeds()):
        (corpus / f'seed-{number:02}').write_bytes(seed)
    started_at = time.monotonic()
    with (place / f'{name}.log').open('w+') as log:
        status = subprocess.run(
            [
                sys.executable,
                '-m',
                'tests.fuzz.child',
                name,
                f'-max_total_time={seconds}',
                f'-timeout={HANG_SECONDS}',
                f'-rss_limit_mb={RSS_MIB}',
                f'-max_len={LONGEST_INPUT_BYTES}',
                f'-artifact_prefix={findings}/',
                '-print_final_stats=1',
                str(corpus),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
        log.seek(0)
        output = log.read()
    return Result(
        target=name,
        executions=last_number(output, r'number_of_executed_units: '),
        seconds=time.monotonic() - started_at,
        edges=last_number(output, r'cov: '),
        rss_mib=last_number(output, r'peak_rss_mb: '),
        lines_percent=None if status else _lines_percent(name, corpus),
        finding=finding(status, output, findings, place / f'{name}.log'),
    )


def last_number(output: str, before: str) -> int:
    """Return the last number after some words, 0 if there is none."""
    return int(([0, *re.findall(before + r'\s*(\d+)', output)])[-1])


def finding(
    status: int, output: str, findings: pathlib.Path, log: pathlib.Path
) -> str | None:
    """Find the input that does harm, None if there is none."""
    if not status:
        return None
    written = re.findall(
        rf'written to ({re.escape(str(findings))}/\S+)', output
    )
    return written[-1] if written else f'none written: see {log}'


def _lines_percent(name: str, corpus: pathlib.Path) -> float:
    output = subprocess.run(
        [sys.executable, '-m', 'tests.fuzz.reach', name, str(corpus)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env=os.environ | {'COVERAGE_CORE': 'ctrace'},
    ).stdout
    return float(output)

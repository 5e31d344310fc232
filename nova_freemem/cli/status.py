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

"""``nova-freemem-status``: the checks, as other services' status commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from nova_freemem.cli import compute_host
from nova_freemem.cli import nova_conf
from nova_freemem.cli import setup


class Checks(upgradecheck.UpgradeCommands):
    """What ``nova-freemem check`` looks at."""

    def __init__(self, here: compute_host.ComputeHost) -> None:
        """Initialize it.

        :param here: this host
        """
        self._upgrade_checks = tuple(
            (one.name, (_result, {'check': one, 'here': here}))
            for one in setup.CHECKS
        )


def _result(
    _checks: Checks, check: setup.Check, here: compute_host.ComputeHost
) -> upgradecheck.Result:
    verdict = check.verdict(here)
    return upgradecheck.Result(verdict.code, verdict.details)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line, None for the process's own
    :returns: 0: all is well; 1: a warning; 2: a failure, or wrong arguments;
              255: an error of the command's own
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # They are nova-compute's files, not of a program of this name.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    nova_conf.add_arguments(parser)
    known, others = parser.parse_known_args(words)
    return int(
        upgradecheck.main(
            cfg.ConfigOpts(),
            'nova-freemem',
            Checks(compute_host.ComputeHost(known.nova_conf)),
            others,
            default_config_files=[],
        )
    )

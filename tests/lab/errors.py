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

"""The errors of the lab, by the standard library alone."""

import pathlib


class Refused(Exception):
    """The request cannot be met; nothing has been changed (exit code 2)."""


class LabError(Exception):
    """A step failed (exit code 1)."""

    def __init__(
        self, step: str, why: str, log: pathlib.Path | None = None
    ) -> None:
        """Initialize the error.

        :param step: what the lab was doing.
        :param why: what went wrong, one line or a few.
        :param log: the file to look into, if there is one.
        """
        self.step = step
        self.why = why
        self.log = log
        where = f'; log: {log}' if log else ''
        super().__init__(f'{step}: {why}{where}')

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

"""What became of this host's migrations, kept for ``nova-freemem report``.

One line of JSON for each, in a file that is bounded: what is full becomes the
older of two. A line is written by one call, and by appending, so that several
nova-computes may write to the same file.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import fcntl
import json
import math
import os
from typing import Any

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

FILE = 'nova-freemem-history.jsonl'
OLDER = f'{FILE}.1'

# Some 4,000 lines: a year of a host that migrates ten guests a day.
MOST_BYTES = 1024 * 1024

# What is read of a file, which may be a little larger than the above.
MOST_READ_BYTES = 2 * MOST_BYTES


class Kind(enum.Enum):
    """What a line tells of."""

    RELEASE = 'release'
    SKIP = 'skip'
    RESTORE = 'restore'


class Outcome(enum.Enum):
    """What those who count lines are shown."""

    RELEASED = 'released'
    FAILED = 'failed'
    SKIPPED = 'skipped'
    RESTORED = 'restored'
    SLOW = 'slow'


@dataclasses.dataclass(frozen=True)
class Record:
    """What became of one migration on this host.

    :ivar at: when that was known
    :ivar kind: a release or a skip at the source, a restore at the destination
                or wherever nova-compute found memory outstanding
    :ivar server: UUID of the server
    :ivar reason: of a skip
    :ivar not_sent_kib: memory that was not sent, of a release
    :ivar seconds: by how much that shortened the migration, of a release; it
                   is negative where the release took longer
    :ivar complete: whether the transfer was completed, of a release; or all
                    memory restored
    """

    at: datetime.datetime
    kind: Kind
    server: str
    reason: str | None = None
    not_sent_kib: int | None = None
    seconds: float | None = None
    complete: bool | None = None

    @property
    def outcome(self) -> Outcome:
        """What became of it, in a word."""
        if self.kind is Kind.SKIP:
            return Outcome.SKIPPED
        if self.kind is Kind.RESTORE:
            return Outcome.RESTORED if self.complete else Outcome.SLOW
        return Outcome.RELEASED if self.complete else Outcome.FAILED

    def to_line(self) -> str:
        """Return it as it is written."""
        fields = dataclasses.asdict(self)
        fields |= {'at': self.at.isoformat(), 'kind': self.kind.value}
        return json.dumps(
            {
                name: value
                for name, value in fields.items()
                if value is not None
            }
        )

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Parse a line; fields that are not known are ignored.

        :param line: as it was read
        :returns: the record
        :raises ValueError: it is torn, damaged, or of a later nova-freemem
        """
        try:
            fields = json.loads(line)
            record = cls(
                at=datetime.datetime.fromisoformat(fields['at']),
                kind=Kind(fields['kind']),
                server=str(fields['server']),
                reason=_optional(fields, 'reason', str),
                not_sent_kib=_optional(fields, 'not_sent_kib', int),
                seconds=_optional(fields, 'seconds', float, int),
                complete=_optional(fields, 'complete', bool),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f'not a record: {error}') from None
        if record.at.tzinfo is None or not math.isfinite(record.seconds or 0):
            raise ValueError('not a record')
        if (record.kind is Kind.SKIP) is (record.reason is None):
            raise ValueError('not a record')
        return record


class History:
    """The file in one folder, for writing."""

    def __init__(self, folder: str) -> None:
        """Initialize it; nothing is opened until there is something to write.

        :param folder: where the file is
        """
        self._path = os.path.join(folder, FILE)
        self._older = os.path.join(folder, OLDER)
        self._failing = False

    def append(self, record: Record) -> None:
        """Write a record; never raise.

        :param record: what became of a migration
        """
        try:
            self._append(record.to_line())
        except Exception as error:
            if not self._failing:
                LOG.warning(
                    'Could not write to %(path)s: %(error)s. "nova-freemem '
                    'report" will lack live migrations of this host.',
                    {'path': self._path, 'error': error},
                )
            self._failing = True
        else:
            self._failing = False

    def _append(self, line: str) -> None:
        descriptor = os.open(
            self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640
        )
        try:
            size = os.fstat(descriptor).st_size
            # One that was torn must not tear this one as well.
            is_torn = size and os.pread(descriptor, 1, size - 1) != b'\n'
            data = (b'\n' if is_torn else b'') + f'{line}\n'.encode()
            if os.write(descriptor, data) < len(data):
                raise OSError('only a part of a line was written')
            if size + len(data) > MOST_BYTES:
                self._rotate(descriptor)
        finally:
            os.close(descriptor)

    def _rotate(self, descriptor: int) -> None:
        """Make the file the older one, unless another process does so."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
            os.replace(self._path, self._older)


def read(folder: str) -> tuple[list[Record], int]:
    """Read what was written, in the order of time.

    :param folder: where the files are
    :returns: the records, and how many lines could not be read
    :raises OSError: a file is there and cannot be read, or the folder is not
    """
    names = os.listdir(folder)
    records, unreadable = [], 0
    for name in (OLDER, FILE):
        if name not in names:
            continue
        with open(os.path.join(folder, name), 'rb') as file:
            text = file.read(MOST_READ_BYTES).decode(errors='replace')
        for line in filter(None, text.split('\n')):
            try:
                records.append(Record.from_line(line))
            except ValueError:
                unreadable += 1
    return sorted(records, key=lambda record: record.at), unreadable


def _optional(fields: dict[str, Any], name: str, *types: type) -> Any:
    value = fields.get(name)
    if value is not None and type(value) not in types:
        raise TypeError(f'{name} is {value!r}')
    return value

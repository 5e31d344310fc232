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


"""What has to hold whatever a guest says."""

from collections.abc import Iterator
import contextlib
import logging
import time
import traceback

from nova_freemem import exceptions

# One line of a log: an error quotes 200 characters at most, and an escaped
# character takes ten.
LONGEST_LINE_CHARACTERS = 5000
LONGEST_TRACE_CHARACTERS = 20_000

# Of one execution, whatever it reads: a thousand times the usual.
LONGEST_CPU_SECONDS = 2.0


def check_harmless(line: str) -> None:
    """Assert that a text can be logged: one line, plain, and short."""
    assert len(line) <= LONGEST_LINE_CHARACTERS, f'{len(line)} characters'
    assert line.isascii() and line.isprintable(), ascii(line)


def check_error(error: BaseException) -> None:
    """Assert that an error is the plugin's own and can be logged."""
    assert isinstance(error, exceptions.FreememError), repr(error)
    check_harmless(str(error))
    trace = ''.join(traceback.format_exception(error))
    assert len(trace) <= LONGEST_TRACE_CHARACTERS, f'{len(trace)} characters'
    for line in trace.splitlines():
        check_harmless(line)


@contextlib.contextmanager
def only_own_errors() -> Iterator[None]:
    """Suppress the plugin's own errors; assert that it takes no time."""
    started_at = time.process_time()
    try:
        yield
    except exceptions.FreememError as error:
        check_error(error)
    seconds = time.process_time() - started_at
    assert seconds <= LONGEST_CPU_SECONDS, f'{seconds:.1f} s of CPU'


class Log(logging.Handler):
    """Checks that every line that is logged is harmless."""

    def __init__(self) -> None:
        super().__init__()
        self.error: AssertionError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first error: nothing that a handler raises is seen."""
        try:
            check_harmless(record.getMessage())
            if record.exc_info and record.exc_info[1]:
                check_error(record.exc_info[1])
        except AssertionError as error:
            self.error = self.error or error


@contextlib.contextmanager
def watched_log() -> Iterator[None]:
    """Assert that nothing harmful is logged."""
    log, logger = Log(), logging.getLogger('nova_freemem')
    before = logger.level, logger.propagate
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(log)
        logger.level, logger.propagate = before
    if log.error is not None:
        raise log.error

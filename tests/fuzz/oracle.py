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

# One line of a log; a fault quotes 200 characters at most, and a character
# takes ten where it is escaped.
LONGEST_LINE_CHARACTERS = 5000
LONGEST_TRACE_CHARACTERS = 20_000

# Of one execution, whatever it hears; a thousand times what the usual takes.
LONGEST_CPU_SECONDS = 2.0


def check_harmless(line: str) -> None:
    """See that a text can stand in a log: one line, plain, and short."""
    assert len(line) <= LONGEST_LINE_CHARACTERS, f'{len(line)} characters'
    assert line.isascii() and line.isprintable(), ascii(line)


def check_fault(fault: BaseException) -> None:
    """See that a fault is one of ours and can be logged, with its trace."""
    assert isinstance(fault, exceptions.FreememError), repr(fault)
    check_harmless(str(fault))
    trace = ''.join(traceback.format_exception(fault))
    assert len(trace) <= LONGEST_TRACE_CHARACTERS, f'{len(trace)} characters'
    for line in trace.splitlines():
        check_harmless(line)


@contextlib.contextmanager
def only_our_faults() -> Iterator[None]:
    """Let our own faults pass, and nothing that takes long."""
    started_at = time.process_time()
    try:
        yield
    except exceptions.FreememError as fault:
        check_fault(fault)
    seconds = time.process_time() - started_at
    assert seconds <= LONGEST_CPU_SECONDS, f'{seconds:.1f} s of CPU'


class Log(logging.Handler):
    """Sees that every line that is logged is harmless."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: AssertionError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first harm: a handler's own faults reach nobody."""
        try:
            check_harmless(record.getMessage())
            if record.exc_info and record.exc_info[1]:
                check_fault(record.exc_info[1])
        except AssertionError as fault:
            self.fault = self.fault or fault


@contextlib.contextmanager
def watched_log() -> Iterator[None]:
    """See that nothing harmful is logged."""
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
    if log.fault is not None:
        raise log.fault

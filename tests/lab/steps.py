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

"""The steps of the lab, printed with the seconds that each took."""

from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import pathlib
import threading
import time
from typing import Any

from rich import console as rich_console
from rich import markup
from rich import status as rich_status
import tenacity

from tests.lab.errors import LabError as LabError
from tests.lab.errors import Refused as Refused


class Board:
    """Shows the steps: a line for each that is done, and what is running."""

    def __init__(self, console: rich_console.Console) -> None:
        """Initialize the board.

        :param console: where it is shown.
        """
        self.console = console
        self._lock = threading.Lock()
        self._running: list[str] = []
        self._status: rich_status.Status | None = None

    def begin(self, name: str) -> None:
        """Show that a step is running, where there is a terminal."""
        with self._lock:
            self._running.append(name)
            self._refresh()

    def end(self, name: str, seconds: float, *, failed: bool) -> None:
        """Print a step's seconds and its name."""
        with self._lock:
            self._running.remove(name)
            self._refresh()
            line = f'{seconds:7.1f} s  {markup.escape(name)}'
            if failed:
                line = f'[red]{line}: failed[/red]'
            self.console.print(line, highlight=False, soft_wrap=True)

    def _refresh(self) -> None:
        if not self.console.is_terminal:
            return
        if not self._running:
            if self._status:
                self._status.stop()
            self._status = None
            return
        text = markup.escape(', '.join(self._running))
        if self._status:
            self._status.update(text)
        else:
            self._status = self.console.status(text)
            self._status.start()


# Standard error: standard output is for what a command is asked to print.
BOARD = Board(rich_console.Console(stderr=True))


@contextlib.contextmanager
def step(name: str, log: pathlib.Path | None = None) -> Iterator[None]:
    """Print a step and the seconds it took; name it in what goes wrong.

    :param name: what is being done, for the operator.
    :param log: the file to look into when it fails.
    :raises LabError: instead of whatever went wrong inside, unless that is a
        LabError (of a step inside this one) or Refused already.
    """
    BOARD.begin(name)
    started = time.monotonic()
    failed = True
    try:
        yield
        failed = False
    except (LabError, Refused):
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        raise LabError(name, why, log) from error
    finally:
        BOARD.end(name, time.monotonic() - started, failed=failed)


def in_parallel(*calls: Callable[[], Any]) -> list[Any]:
    """Do independent things at the same time.

    :returns: their results, in the order of the calls.
    :raises Exception: what the first of the calls that failed raised, once
        all the others have ended.
    """
    with futures.ThreadPoolExecutor(max(len(calls), 1)) as pool:
        running = [pool.submit(call) for call in calls]
    return [one.result() for one in running]


def wait_for(
    probe: Callable[[], Any],
    what: str,
    seconds: float,
    every_seconds: float = 0.2,
) -> Any:
    """Call a probe until it returns what is true.

    :param probe: called at once, then each ``every_seconds``; what it raises
        ends the wait.
    :param what: what is waited for, for the message.
    :returns: the first true result.
    :raises TimeoutError: there was none within ``seconds``.
    """
    waiting = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda answer: not answer),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(every_seconds),
    )
    try:
        return waiting(probe)
    except tenacity.RetryError:
        raise TimeoutError(f'{what}: not within {seconds:g} s') from None


def last_lines(log: pathlib.Path, count: int = 5, containing: str = '') -> str:
    """Read the end of a log.

    :param containing: what a line must have in it to count.
    :returns: its last lines; empty where there is no such file.
    """
    try:
        text = log.read_text(errors='replace')
    except FileNotFoundError:
        return ''
    lines = [line for line in text.splitlines() if containing in line]
    return '\n'.join(line for line in lines[-count:] if line.strip())

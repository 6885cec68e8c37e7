"""Child processes: start one, wait until it says that it is ready, end it; never leave one behind.

Its stderr goes to a file, which is quoted when it fails. Limits: LINE_MAX_BYTES before the ready line, END_S to end
when asked to, then it is killed.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

END_S: Final = 15.0
LINE_MAX_BYTES: Final = 65_536
QUOTED_LINES: Final = 12
POLL_S: Final = 0.1
PACKAGES: Final = Path(__file__).resolve().parents[2]


class ChildError(RuntimeError):
    """A child that did not start, or ended badly; the message quotes its stderr."""


class Child:
    """`python -m MODULE ARGS` as a process of its own."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], log: Path, checked: Callable[[], None] = lambda: None
    ) -> None:
        """Start it. `log` takes its stderr; `checked` is called while it is waited for, and may raise."""
        self.name = name
        self.checked = checked
        self.log = log
        paths = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],  # what lies in the current folder is not ours
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )

    def ready(self, mark: str, timeout_s: float) -> str:
        """Wait for a line of its stdout that begins with `mark`; return what follows.

        Raises ChildError, and whatever `checked` raises meanwhile.
        """
        assert self.process.stdout is not None
        pipe, until_s, text = self.process.stdout.fileno(), time.monotonic() + timeout_s, b""
        while True:
            for line in text.split(b"\n")[:-1]:
                if line.startswith(mark.encode()):
                    return line.decode("utf-8", "replace")[len(mark) :].strip()
            self.checked()
            readable, _, _ = select.select([pipe], [], [], POLL_S)
            if not readable and time.monotonic() < until_s:
                continue
            if not readable:
                raise ChildError(f"{self.name} was not ready within {timeout_s:.0f} s{self._quote()}")
            more = os.read(pipe, 4_096)
            text += more
            if not more or len(text) > LINE_MAX_BYTES:
                self.process.wait(END_S)
                raise ChildError(f"{self.name} ended with code {self.process.returncode} at the start{self._quote()}")

    def check(self) -> None:
        """Raise ChildError if it has ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise ChildError(f"{self.name} ended with code {code} while it was needed{self._quote()}")

    def end(self) -> int:
        """Ask it to end (SIGTERM), kill it after END_S; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def end_well(self) -> None:
        """End it; raise ChildError when its exit code is not 0."""
        code = self.end()
        if code:
            raise ChildError(f"{self.name} ended with code {code}{self._quote()}")

    def _quote(self) -> str:
        """The last lines of its stderr."""
        lines = self.log.read_text("utf-8", "replace").rstrip().splitlines()[-QUOTED_LINES:]
        return "".join(f"\n  | {line}" for line in lines)


class Children:
    """Every child started within a `with` is ended with it, whatever happens."""

    def __init__(self, checked: Callable[[], None] = lambda: None) -> None:
        """`checked` is called by `check`, and while a child is waited for; what it raises ends the wait."""
        self.checked = checked
        self.all: list[Child] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self.all:
            if child.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    child.process.send_signal(signal.SIGTERM)
        for child in reversed(self.all):
            child.end()

    def start(self, name: str, module: str, arguments: Sequence[str], log: Path) -> Child:
        """Start a child."""
        child = Child(name, module, arguments, log, self.checked)
        self.all.append(child)
        return child

    def check(self) -> None:
        """Raise ChildError if one has ended by itself."""
        self.checked()
        for child in self.all:
            child.check()

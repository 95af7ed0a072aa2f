"""Runs `PROGRAM top --store STORE` on terminals of its own, presses keys, sends signals, pulls the plug.

With a third argument, runs that test of the program THIRD, which opens the screen and panics.
Prints what went wrong and ends with 1 when it did.
"""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

LIMIT = 30
OPENED = b"\x1b[?1049h"
CLOSED = b"\x1b[?1049l"
CURSOR = b"\x1b[?25h"


class Screen:
    """A program on a terminal, and what it wrote there."""

    def __init__(self, command, size=(24, 80), ignored=(), **environment):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            # The size is set by the other side; whoever asks too early sees none.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            of_test = {"TERM": "xterm", "LC_ALL": "C.UTF-8", **environment}
            os.execvpe(command[0], command, {**os.environ, **of_test})
        self.written = b""
        self.status = None
        self.rest = ""
        self.cells = {}
        self.place = (0, 0)

    def show(self, text):
        """Puts what is written where a terminal would."""
        part = re.compile("\x1b\\[([?0-9;]*)([A-Za-z])|\x1b.|(.)", re.DOTALL)
        text = self.rest + text
        # A sequence may come in two pieces.
        begun = re.search("\x1b(\\[[?0-9;]*)?$", text)
        self.rest = begun.group() if begun else ""
        for match in part.finditer(text[: len(text) - len(self.rest)]):
            parameters, command, character = match.groups()
            if command == "H":
                row, column = (parameters or "1;1").split(";")
                self.place = (int(row) - 1, int(column) - 1)
            elif command == "J":
                self.cells.clear()
            elif character == "\r":
                self.place = (self.place[0], 0)
            elif character == "\n":
                self.place = (self.place[0] + 1, self.place[1])
            elif character:
                self.cells[self.place] = character
                self.place = (self.place[0], self.place[1] + 1)

    def text(self):
        rows = range(1 + max((row for row, _ in self.cells), default=0))
        columns = range(1 + max((column for _, column in self.cells), default=0))
        lines = ("".join(self.cells.get((row, column), " ") for column in columns) for row in rows)
        return "\n".join(lines)

    def read(self, seconds=0.05):
        """What is written by then; false when nothing ever will be."""
        if select.select([self.terminal], [], [], seconds)[0]:
            try:
                more = os.read(self.terminal, 65536)
            except OSError:
                more = b""
            self.written += more
            self.show(more.decode(errors="replace"))
            return bool(more)
        return True

    def wait_for(self, ask, what):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            answer = ask()
            if answer:
                return answer
            self.read()
        self.fail(f"no {what} within {LIMIT} s")

    def sees(self, text):
        self.wait_for(lambda: text in self.text(), repr(text))

    def press(self, keys):
        self.written = b""
        os.write(self.terminal, keys if isinstance(keys, bytes) else keys.encode())

    def resize(self, rows, columns):
        self.written = b""
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def is_raw(self):
        return not termios.tcgetattr(self.terminal)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def is_as_before(self):
        wanted = termios.ICANON | termios.ECHO | termios.ISIG
        local = termios.tcgetattr(self.terminal)[3]
        return local & wanted == wanted and termios.tcgetattr(self.terminal)[1] & termios.OPOST

    def state(self):
        with open(f"/proc/{self.process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    def signal(self, number):
        os.kill(self.process, number)

    def is_over(self):
        if self.status is None:
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def ends(self, wanted):
        """The program ends so, and the terminal is as it was."""
        self.wait_for(self.is_over, "end")
        while self.read(0.2) and select.select([self.terminal], [], [], 0)[0]:
            pass
        if self.status != wanted:
            self.fail(f"ended with {self.status}, not {wanted}")
        self.check_given_back()

    def check_given_back(self):
        if not self.is_as_before():
            self.fail("the terminal is not as it was")
        closed = self.written.rfind(CLOSED)
        if closed < 0 or self.written.rfind(OPENED) > closed:
            self.fail("the other screen was not left")
        if CURSOR not in self.written:
            self.fail("the cursor is hidden")

    def fail(self, what):
        sys.exit(f"{what}\n{self.text()}\n{self.written[-2000:]!r}")


def opened(command, **options):
    screen = Screen(command, **options)
    screen.sees("recording ended")
    screen.sees("Enter story")
    if not screen.is_raw():
        screen.fail("keys are not read one by one")
    return screen


def keys(command):
    screen = opened(command)
    screen.press("?")
    screen.sees("draw anew")
    screen.press(b"\x1b")
    screen.sees("Enter story")
    screen.press("l")
    screen.sees("lost in this recording")
    screen.press(b"\x1b\x1b[D")
    screen.sees("live: End")
    screen.press(b"\x1b[F")
    screen.sees("recording ended")
    screen.press("q")
    screen.ends(0)

    screen = opened(command)
    screen.press(b"\x03")
    screen.ends(0)


def stops(command):
    screen = opened(command)
    screen.press(b"\x1a")
    screen.wait_for(lambda: screen.state() == "T", "stop at Ctrl-Z")
    screen.read(0.2)
    screen.check_given_back()
    screen.cells.clear()
    screen.signal(signal.SIGCONT)
    screen.sees("recording ended")
    screen.wait_for(screen.is_raw, "going on")
    screen.written = b""
    screen.signal(signal.SIGTSTP)
    screen.wait_for(lambda: screen.state() == "T", "stop at SIGTSTP")
    screen.read(0.2)
    screen.check_given_back()
    # Whoever stops it without a word gets everything drawn anew as well.
    screen.signal(signal.SIGCONT)
    screen.wait_for(screen.is_raw, "going on")
    screen.signal(signal.SIGSTOP)
    screen.wait_for(lambda: screen.state() == "T", "stop at SIGSTOP")
    screen.cells.clear()
    screen.signal(signal.SIGCONT)
    screen.sees("recording ended")
    screen.press("q")
    screen.ends(0)


def signals(command):
    for number, wanted in ((signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, 1)):
        screen = opened(command)
        screen.written = b""
        screen.signal(number)
        screen.ends(wanted)


def closed(command):
    """Also where nobody tells it that the terminal was closed."""
    for ignored in ((), (signal.SIGHUP,)):
        screen = opened(command, ignored=ignored)
        os.close(screen.terminal)
        end = time.monotonic() + LIMIT
        while not screen.is_over():
            if time.monotonic() > end:
                sys.exit(f"it goes on without a terminal ({ignored})")
            time.sleep(0.02)
        if screen.status != 1:
            sys.exit(f"closed: ended with {screen.status}")


def sizes(command):
    screen = opened(command)
    for rows, columns in ((3, 10), (1, 1), (2, 200), (50, 160)):
        screen.resize(rows, columns)
        screen.wait_for(lambda: screen.written, "picture")
    screen.sees("STARTED in the last minute")
    screen.resize(24, 80)
    screen.sees("Enter story")
    screen.press("q")
    screen.ends(0)
    screen = opened(command, size=(50, 200))
    screen.sees("STARTED in the last minute")
    screen.press("q")
    screen.ends(0)


def plain(command):
    """No colour, no UTF-8: neither is written."""
    screen = opened(command, NO_COLOR="1", LC_ALL="C")
    for colour in (b";31m", b";32m", b";33m"):
        if colour in screen.written:
            screen.fail("a colour")
    if not screen.written.isascii():
        screen.fail("not ASCII")
    screen.press("q")
    screen.ends(0)


def refusals(command):
    """Where there is no screen, what there is instead is told."""
    nobody = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if nobody.returncode != 2 or "systrail tree" not in nobody.stderr:
        sys.exit(f"without a terminal: {nobody}")
    screen = Screen(command, TERM="dumb")
    screen.wait_for(screen.is_over, "end")
    screen.sees("systrail watch")
    if screen.status != 2 or b"\x1b" in screen.written:
        screen.fail(f"TERM=dumb: {screen.status}")


def deleted(command, store):
    """A store that goes while it is looked at, and one that comes back."""
    copy = store + ".copy"
    shutil.copytree(store, copy)
    screen = opened([*command[:-1], copy])
    shutil.rmtree(copy)
    screen.sees("the store was deleted")
    shutil.copytree(store, copy)
    screen.wait_for(lambda: "the store was deleted" not in screen.text(), "store again")
    screen.press("q")
    screen.ends(0)


def panics(test):
    for what in ("draw", "thread"):
        command = [test, "--exact", "top::a_screen_in_which_somebody_panics", "--nocapture"]
        screen = Screen(command, SYSTRAIL_TEST_PANIC=what)
        screen.wait_for(screen.is_over, "end")
        while select.select([screen.terminal], [], [], 0.2)[0] and screen.read():
            pass
        if screen.status == 0:
            screen.fail("nobody panicked")
        screen.check_given_back()
        after = screen.written[screen.written.rfind(CLOSED) :]
        if f"panicked in the {what}".encode() not in after:
            screen.fail("the message is on the screen that was left")
        if screen.written.count(CLOSED) != 1:
            screen.fail("left more than once")


def main(program, store, test):
    command = [program, "top", "--store", store]
    keys(command)
    stops(command)
    signals(command)
    closed(command)
    sizes(command)
    plain(command)
    refusals(command)
    deleted(command, store)
    panics(test)


main(*sys.argv[1:])

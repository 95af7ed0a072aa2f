"""Runs `PROGRAM query --store STORE` on a terminal of its own and types queries there; HOME is a directory
of the test's own. Prints what went wrong and ends with 1 when it did."""

import os
import pty
import re
import select
import sys
import termios
import time

LIMIT = 30
PROMPT = "systrail> "


class Terminal:
    def __init__(self, program, store, home):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            environment = {**os.environ, "TERM": "xterm", "HOME": home, "PAGER": "cat", "NO_COLOR": "1"}
            environment.pop("XDG_STATE_HOME", None)
            os.execve(program, [program, "query", "--store", store], environment)
        self.text = ""
        self.sees(PROMPT)

    def read(self):
        if not select.select([self.terminal], [], [], 0.05)[0]:
            return True
        try:
            more = os.read(self.terminal, 65536).decode(errors="replace")
        except OSError:
            return False
        self.text += re.sub("\x1b\\[[?0-9;]*[A-Za-z]", "", more)
        return bool(more)

    def sees(self, wanted):
        end = time.monotonic() + LIMIT
        while wanted not in self.text:
            if not self.read() or time.monotonic() > end:
                sys.exit(f"no {wanted!r} within {LIMIT} s, but:\n{self.text}")

    def types(self, keys, *wanted):
        """Types that at a prompt, and sees what is wanted, and then a prompt again."""
        self.text = ""
        os.write(self.terminal, keys.encode())
        for one in wanted:
            self.sees(one)
        if keys.endswith("\r"):
            answer = self.text.rfind(wanted[-1]) if wanted else 0
            self.text = self.text[answer:]
            self.sees(PROMPT)

    def ends(self):
        while self.read():
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        if status != 0:
            sys.exit(f"ended with {status}")


def main(program, store, home):
    one = Terminal(program, store, home)
    one.types("SELECT 6 * 7 AS answer;\r", "answer", "42")
    # Tab puts the only thing there that fits, in the names of views and in those of columns.
    one.types("SELECT count(*) AS n FROM proce\t WHERE process_k\t IS NOT NULL;\r", "processes", "process_key", "n")
    # In more than one line, and ended by an empty one.
    one.types("SELECT 'a' ||\r'b' AS joined\r\r", "joined", "ab")
    one.types(".format json\r")
    one.types("SELECT 1 AS one;\r", '"one":1')
    one.types("SELECT nowhere FROM events;\r", "no such column")
    one.types("DELETE FROM events;\r", "cannot modify")
    one.types(".nothing\r", ".help lists them")
    one.types(".schema losses\r", "reason")
    one.types(".example 99\r", "examples 1 to")
    # Ctrl-C ends the query, and not the program.
    endless = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n;\r"
    os.write(one.terminal, endless.encode())
    one.sees("asking for")
    one.types("\x03", "the query was interrupted", PROMPT)
    one.types("SELECT 2 AS two;\r", '"two":2')
    os.write(one.terminal, b"\x04")
    one.ends()

    history = os.path.join(home, ".local/state/systrail/query-history")
    if os.stat(history).st_mode & 0o077:
        sys.exit("the history is for others to read")
    # The second time it is there, above the prompt.
    two = Terminal(program, store, home)
    two.types("\x1b[A", "SELECT 2 AS two;")
    two.types("\r", "two")
    os.write(two.terminal, b".quit\r")
    two.ends()

    # A terminal that is closed ends it.
    three = Terminal(program, store, home)
    os.close(three.terminal)
    end = time.monotonic() + LIMIT
    while not os.waitpid(three.process, os.WNOHANG)[0]:
        if time.monotonic() > end:
            sys.exit("it goes on without its terminal")
        time.sleep(0.05)

    # Somebody else's home is no place for a file of ours.
    if os.geteuid() == 0:
        os.remove(history)
        os.chown(home, 1, 1)
        four = Terminal(program, store, home)
        four.types("SELECT 3;\r", "3")
        os.write(four.terminal, b"\x04")
        four.ends()
        if os.path.exists(history):
            sys.exit("the history is in another user's home")


main(*sys.argv[1:])

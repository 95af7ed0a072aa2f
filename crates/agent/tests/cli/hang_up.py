"""Runs `PROGRAM run ARGUMENTS` as a job of a shell on a terminal of its own.

A hang-up that somebody sends has it read its configuration again; that of its terminal ends it. Prints what
went wrong and ends with 1 when it did.
"""

import os
import pty
import signal
import sys

from waiting import wait_for


def be_shell(said, words):
    """Hands on the hang-up of the terminal, which is told to the shell alone, and ends as its job did."""
    recorder = os.fork()
    if recorder == 0:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 2)
        os.execv(words[0], words)
    signal.signal(signal.SIGHUP, lambda *_: os.kill(recorder, signal.SIGHUP))
    with open(f"{said}.id", "w") as file:
        file.write(str(recorder))
    os._exit(os.waitstatus_to_exitcode(os.waitpid(recorder, 0)[1]) & 0xFF)


def main(said, words):
    shell, terminal = pty.fork()
    if shell == 0:
        be_shell(said, words)

    def has_said(what):
        return os.path.exists(said) and what in open(said).read()

    wait_for(lambda: has_said("systrail: recording\n") or os.waitpid(shell, os.WNOHANG)[0], "begin")
    if not has_said("systrail: recording\n"):
        return
    os.kill(int(open(f"{said}.id").read()), signal.SIGHUP)
    wait_for(lambda: has_said("configuration read again"), "reload")
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1])
    if status != 1 or not has_said("ended by SIGHUP") or not has_said("balanced"):
        sys.exit(f"closed: status {status}\n{open(said).read()}")


main(sys.argv[1], sys.argv[2:])

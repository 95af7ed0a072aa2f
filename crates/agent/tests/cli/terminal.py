"""Runs `PROGRAM run -- sleep 30` on a terminal of its own and presses keys there.

Prints what went wrong and ends with 1 when it did.
"""

import os
import pty
import signal
import sys

from waiting import wait_for


def begin(program):
    """The recorder in the foreground of a new terminal, once its command runs, and its shell."""
    shell, terminal = pty.fork()
    if shell == 0:
        be_shell(program)
    recorder = wait_for(lambda: child_of(shell), "recorder")
    command = wait_for(lambda: child_of(recorder), "command")
    wait_for(lambda: name_of(command) == "sleep", "sleep")
    return shell, terminal, recorder, command


def be_shell(program):
    """Runs the recorder as a shell with job control does, and ends as it did.

    A group whose leader's parent is in its own session is no orphan: Ctrl-Z stops it. When the terminal
    is closed the kernel tells the shell alone, which tells its jobs.
    """
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    recorder = os.fork()
    if recorder == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(program, [program, "run", "--", "sleep", "30"])
    signal.signal(signal.SIGHUP, lambda *_: os.killpg(recorder, signal.SIGHUP))
    os._exit(os.waitstatus_to_exitcode(os.waitpid(recorder, 0)[1]) & 0xFF)


def child_of(process):
    for task in os.listdir(f"/proc/{process}/task"):
        with open(f"/proc/{process}/task/{task}/children") as file:
            children = file.read().split()
        if children:
            return int(children[0])
    return None


def name_of(process):
    with open(f"/proc/{process}/comm") as file:
        return file.read().strip()


def state_of(process):
    with open(f"/proc/{process}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def is_gone(process):
    return not os.path.exists(f"/proc/{process}")


def end(process, terminal):
    """Its status, and what it said."""
    said = b""
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:
            read = b""
        if not read:
            break
        said += read
    return os.waitpid(process, 0)[1], said.decode(errors="replace")


def check(is_so, what, said=""):
    if not is_so:
        sys.exit(f"{what}\n{said}")


def main(program):
    shell, terminal, recorder, command = begin(program)
    os.write(terminal, b"\x03")
    status, said = end(shell, terminal)
    check(os.waitstatus_to_exitcode(status) == 130, f"Ctrl-C: status {status}", said)
    check("killed by signal 2" in said, "Ctrl-C is not told", said)

    shell, terminal, recorder, command = begin(program)
    os.write(terminal, b"\x1a")
    wait_for(lambda: state_of(recorder) == "T" and state_of(command) == "T", "stop at Ctrl-Z")
    os.killpg(recorder, signal.SIGCONT)
    wait_for(lambda: state_of(recorder) == "S" and state_of(command) == "S", "going on")
    os.write(terminal, b"\x03")
    status, said = end(shell, terminal)
    check(os.waitstatus_to_exitcode(status) == 130, f"after Ctrl-Z: status {status}", said)

    shell, terminal, recorder, command = begin(program)
    os.close(terminal)
    wait_for(lambda: is_gone(command), "end of the command when the terminal was closed")
    status = os.waitpid(shell, 0)[1]
    check(os.waitstatus_to_exitcode(status) == 129, f"closed: status {status}")


main(sys.argv[1])

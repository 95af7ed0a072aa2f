"""What the scripts beside this have in common."""

import sys
import time

# Seconds.
LIMIT = 30


def wait_for(ask, what):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    sys.exit(f"no {what} within {LIMIT} s")

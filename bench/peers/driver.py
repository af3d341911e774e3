# SPDX-License-Identifier: Apache-2.0
"""Both ends of the line between bench/peers.py and the process of a peer.

A request is a line: an operation and its arguments in base64. The answer is "ok MICROSECONDS BASE64" or "no BASE64", where the text is
what the code printed, or the reason why the peer can't do this. The process of the peer measures the time.
"""
import base64
import importlib
import os
import select
import subprocess
import sys
import time

OPERATIONS = ("run", "solve", "run_packages", "open", "call", "close")


class Cannot(Exception):
    """The peer can't do this, and the message says why."""


def encode(text):
    return base64.b64encode(text.encode()).decode()


def decode(text):
    return base64.b64decode(text).decode(errors="replace")


class Peer:
    """What runs in the process of a peer. Each method that runs code returns what the code printed."""

    def start(self):
        """Starts what stays warm. Its time is not measured."""

    def run(self, code):
        """Runs the code so that nothing of an earlier run is left."""
        raise Cannot("it has no single runs")

    def solve(self, code):
        """The same for one problem of HumanEval."""
        return self.run(code)

    def run_packages(self, code):
        """The same for code that imports numpy and pandas."""
        raise Cannot("it has no numpy and pandas")

    def open(self, name):
        raise Cannot("it has no sessions")

    def call(self, name, code):
        raise Cannot("it has no sessions")

    def close(self, name):
        raise Cannot("it has no sessions")

    def tidy(self):
        """Is called after each operation, outside of the measured time."""

    def stop(self):
        """Ends everything that was started."""


def serve(peer):
    """Answers requests until standard input ends. Whatever the code prints to standard output goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        peer.start()
        answers.write("ok 0 \n")
    except Exception as error:
        answers.write("no %s\n" % encode(reason(error)))
    answers.flush()
    for line in sys.stdin:
        operation, *arguments = line.split()
        if operation not in OPERATIONS:
            raise ValueError(line)
        arguments = [decode(text) for text in arguments]
        try:
            began = time.perf_counter()
            text = getattr(peer, operation)(*arguments)
            answer = "ok %.3f %s" % ((time.perf_counter() - began) * 1e6, encode(text or ""))
        except Exception as error:
            answer = "no %s" % encode(reason(error))
        peer.tidy()
        answers.write(answer + "\n")
        answers.flush()
    peer.stop()


def reason(error):
    if isinstance(error, Cannot):
        return str(error)
    return "%s: %s" % (type(error).__name__, (str(error).strip().splitlines() or [""])[-1][:300])


class Driver:
    """The process of a peer, as bench/peers.py sees it."""

    def __init__(self, command, environment, limit=180):
        self.limit = limit          # seconds that an answer may take
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        bufsize=1, env={**os.environ, **environment}, start_new_session=True)
        self.pid = self.process.pid
        self._answer("start")

    def ask(self, operation, *arguments):
        """Returns (microseconds, printed text), or raises Cannot."""
        try:
            self.process.stdin.write(" ".join([operation, *map(encode, arguments)]) + "\n")
        except BrokenPipeError:
            pass            # its end is seen below
        return self._answer(operation)

    def _answer(self, operation):
        ready, _, _ = select.select([self.process.stdout], [], [], self.limit)
        if not ready:
            self.end(kill=True)
            raise Cannot("%s: no answer in %d s" % (operation, self.limit))
        words = self.process.stdout.readline().rstrip("\n").split(" ")
        if words[0] == "ok":
            return float(words[1]), decode(words[2])
        if words[0] == "no":
            raise Cannot(decode(words[1]))
        raise Cannot("%s: its process ended with status %s" % (operation, self.process.wait()))

    def end(self, kill=False):
        """Lets the process end, with all that it started."""
        if kill:
            self.process.kill()
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


if __name__ == "__main__":
    # Not `serve` of this file, whose class Cannot is another one than that of the peer.
    importlib.import_module("peers.driver").serve(importlib.import_module("peers." + sys.argv[1]).Peer(*sys.argv[2:]))

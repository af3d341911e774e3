# SPDX-License-Identifier: Apache-2.0
"""The order of the measurements. Peers take turns in every round, so that other programs of the machine disturb all of them alike."""
import math
import time

from . import memory, workloads
from .driver import Cannot

PAUSE = 0.003           # seconds before each call, in which a pool fills again and a session goes to sleep
MEMORY_LEFT_MIB = 3000  # so much stays available while sessions are opened


def percentile(values, percent):
    """By the nearest-rank method, as in `pyexec bench`."""
    values = sorted(values)
    return values[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def spread(values):
    return {"p50_us": percentile(values, 50), "p99_us": percentile(values, 99), "count": len(values)}


def checked(driver, expected, operation, *arguments):
    """Returns the microseconds of a call that printed the right answer."""
    took, printed = driver.ask(operation, *arguments)
    if printed != expected:
        raise Cannot("a wrong answer: %r" % printed[-100:])
    return took


class Rows:
    """The figures of all peers: rows[name of the peer][name of the row]."""

    def __init__(self, drivers, plan, say):
        self.drivers, self.plan, self.say = drivers, plan, say
        self.rows = {name: {} for name in drivers}

    def cannot(self, peer, row, error):
        self.rows[peer][row] = {"cannot": str(error)}
        self.say("%s, %s: %s" % (peer, row, error))

    def by_turns(self, row, call):
        """`call(driver, number)` makes the call with this number, from 0, and returns its microseconds. The first is not counted."""
        samples, numbers = {}, dict.fromkeys(self.drivers, 0)
        for turn in range(self.plan.rounds + 1):
            for name, driver in self.drivers.items():
                if "cannot" in self.rows[name].get(row, {}):
                    continue
                began = time.monotonic()
                try:
                    while True:
                        time.sleep(PAUSE)
                        took = call(driver, numbers[name])
                        numbers[name] += 1
                        if turn == 0:       # warms up
                            break
                        samples.setdefault(name, []).append(took)
                        if numbers[name] > turn * self.plan.calls or time.monotonic() - began > self.plan.seconds:
                            break
                except Cannot as error:
                    self.cannot(name, row, error)
        for name, values in samples.items():
            self.rows[name].setdefault(row, spread(values))

    def one_line(self):
        code, answer = workloads.ONE_LINE
        self.by_turns("one_line", lambda driver, number: checked(driver, answer, "run", code))

    def packages(self):
        code, answer = workloads.GROUPBY
        self.by_turns("packages", lambda driver, number: checked(driver, answer, "run_packages", code))

    def session(self):
        def call(driver, number):
            if number == 0:
                driver.ask("open", "timed")
                checked(driver, workloads.SESSION_FIRST[1], "call", "timed", workloads.SESSION_FIRST[0])
            code, answer = workloads.session_step(number + 1)
            return checked(driver, answer, "call", "timed", code)
        self.by_turns("session", call)
        for name, driver in self.drivers.items():
            if "cannot" not in self.rows[name]["session"]:
                driver.ask("close", "timed")

    def humaneval(self, problems):
        """Each peer solves each problem once, problem by problem. A slow peer stops after plan.problem_seconds."""
        found = {name: {"right": 0, "tried": 0, "seconds": 0, "samples": [], "why": None} for name in self.drivers}
        for code, answer in problems:
            for name, driver in self.drivers.items():
                one = found[name]
                if one["seconds"] > self.plan.problem_seconds:
                    continue
                one["tried"] += 1
                began = time.monotonic()
                try:
                    one["samples"].append(checked(driver, answer, "solve", code))
                    one["right"] += 1
                except Cannot as error:
                    one["why"] = one["why"] or str(error)
                one["seconds"] += time.monotonic() - began
        for name, one in found.items():
            if not one["samples"]:
                self.cannot(name, "humaneval", one["why"])
                continue
            self.rows[name]["humaneval"] = {**spread(one["samples"]), "right": one["right"], "tried": one["tried"], "of": len(problems),
                                            "first_failure": one["why"]}

    def memory(self):
        """Opens many sessions of one peer after another, each with a name in it, and adds up the memory of all its processes."""
        for name, driver in self.drivers.items():
            opened, took, why, began = 0, [], None, time.monotonic()
            try:
                before = memory.pss_mib(driver.pid)
                for opened in range(1, self.plan.sessions + 1):
                    took.append(driver.ask("open", "many-%d" % opened)[0])
                    checked(driver, "", "call", "many-%d" % opened, "x = %d" % opened)
                    if time.monotonic() - began > self.plan.session_seconds:
                        why = "it opened %d in %d s" % (opened, self.plan.session_seconds)
                    elif memory.available_mib() < MEMORY_LEFT_MIB:
                        why = "the machine has memory for %d" % opened
                    if why:
                        break
                used = memory.pss_mib(driver.pid) - before
                checked(driver, "%d\n" % opened, "call", "many-%d" % opened, "print(x)")
                checked(driver, "1\n", "call", "many-1", "print(x)")
                for number in range(1, opened + 1):
                    driver.ask("close", "many-%d" % number)
            except (Cannot, OSError) as error:
                if isinstance(error, OSError):
                    error = "the memory of its processes can't be read: %s" % error.strerror
                self.cannot(name, "memory", error)
                self.rows[name]["opened"] = spread(took) if took else self.rows[name]["memory"]
                continue
            self.rows[name]["opened"] = spread(took)
            self.rows[name]["memory"] = {"mib": used, "sessions": opened, "of": self.plan.sessions, "why_fewer": why}

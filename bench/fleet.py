#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures a fleet (docs/scale.md, "What a fleet costs"): fleets of 1, 2 and 3 workers beside HTTP to one worker, each with the same part of
a processor; a model of it; what one NATS server can carry; processor time per run; and what NATS adds for each client. All rows are
measured in turns, so that other programs of the machine disturb them alike. Needs nats-server; parts of a processor need root.

    bench/fleet.py [BUILD] [--rounds N] [--seconds S] [--quota PART] [--parts fleets,nats,clients] [--json FILE]
"""
import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/support")]
import fleet_load as load  # noqa: E402
from fleet_nats import limits  # noqa: E402
from nats_fleet import PLAIN, Server, Worker, session_subject  # noqa: E402
from serving import token_line  # noqa: E402
from waiting import wait_until  # noqa: E402

BODY = b'{"code": "1 + 1"}'
TOKEN = PRINCIPAL = "bench"
SIZES = (1, 2, 3)
FITTED = (1, 2)             # the model knows these, and predicts the others
IN_FLIGHT = 8               # requests for each worker, when all are busy
LOADS = {"25 %": 0.25, "50 %": 0.5, "75 %": 0.75}      # of the runs that one worker does when it is busy
BUSY = "busy"
KINDS = ("runs", "session calls")
REST = 0.2                  # seconds before each measurement, in which warm children are forked
CLIENT_ROUNDS, BLOCK = 600, 20
PAUSE = 0.005               # before each call of a client, in which a warm child is forked


class Program:
    def __init__(self, path):
        self.path, self.uid = path, os.getuid()

    def popen(self, *arguments, **keywords):
        return subprocess.Popen([self.path, *arguments], **keywords)


class Fleet:
    """A NATS server, and workers with the same part of a processor each. The first worker also listens for HTTP."""

    def __init__(self, program, size, quota, stack):
        self.size, self.nats_share = size, stack.enter_context(load.shared())
        self.server = stack.enter_context(Server())
        if self.nats_share:
            self.nats_share.add(self.server.process.pid)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        tokens = os.path.join(folder, "tokens")
        with open(tokens, "w") as file:
            file.write(token_line(PRINCIPAL, TOKEN, "rate=1000000") + "\n")
        os.chmod(tokens, 0o600)
        self.shares, self.workers = [], []
        for number in range(size):
            share = stack.enter_context(load.shared(quota))
            self.shares += [share] if share else []
            listen = [] if number else ["--listen", "127.0.0.1:0"]
            self.workers.append(stack.enter_context(Worker(
                program, self.server, "n%d" % number, "--token-file", tokens, *listen, env={**PLAIN, "PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3", "PYEXEC_NATS_PRINCIPAL": PRINCIPAL},
                preexec_fn=share.enter if share else None)))
        found = wait_until(lambda: re.search(r"listening.*127\.0\.0\.1:(\d+)", self.workers[0].text()), "the worker's address")
        self.http_port = int(found[1])
        self.http_url = "http://127.0.0.1:%d" % self.http_port

    def cpu(self):
        """Returns the seconds of the workers with all their processes, and of the NATS server."""
        return sum(share.seconds() for share in self.shares), self.nats_share.seconds() if self.nats_share else 0.0

    def memory_bytes(self):
        return statistics.mean(share.memory_bytes() for share in self.shares) if self.shares else 0, \
            self.nats_share.memory_bytes() if self.nats_share else 0


class Row:
    """One way to send requests: over NATS to a fleet, or over HTTP to its first worker."""

    def __init__(self, name, fleet, is_http):
        self.name, self.fleet, self.is_http = name, fleet, is_http
        self.size = 1 if is_http else fleet.size
        self.senders = {kind: [] for kind in KINDS}
        self.memory = (0, 0)        # bytes of one worker with its sessions, and of the NATS server

    async def connect(self):
        count = IN_FLIGHT * self.size
        if self.is_http:
            links = [await load.dial(load.HttpLink, self.fleet.http_port) for _ in range(count)]
            paths = {"runs": [b"/v1/execute"] * count, "session calls": [b"/v1/sessions/h%d/execute" % one for one in range(count)]}
            for kind in KINDS:
                for link, path in zip(links, paths[kind]):
                    self.senders[kind].append(lambda link=link, path=path: link.ask(path, BODY, TOKEN.encode()))
            return
        link = await load.dial(load.NatsLink, self.fleet.server.port)
        self.senders["runs"] = [lambda: link.ask(b"pyexec.v1.run", BODY)] * count
        self.senders["session calls"] = [lambda subject=subject: link.ask(subject, BODY) for subject in await self._sessions(link)]

    async def _sessions(self, link):
        """As many at each node. NATS chooses the node, so some are made too many, and are deleted."""
        at = {worker.node: [] for worker in self.fleet.workers}
        for number in range(1000):
            head, _ = await link.ask(b"pyexec.v1.open", json.dumps({"id": "s%d" % number}).encode())
            node = next(node for node in at if ("Pyexec-Node: %s\r" % node).encode() in head)
            subject = session_subject(node, "s%d" % number, PRINCIPAL).encode()
            if len(at[node]) < IN_FLIGHT:
                at[node].append(subject)
            else:
                await link.ask(subject, b"", b"Pyexec-Call: DELETE\r\n")
            if all(len(found) == IN_FLIGHT for found in at.values()):
                break
        return [subject for found in at.values() for subject in found]


class Cell:
    """What one row has shown with one kind of request at one load."""

    def __init__(self):
        self.latencies, self.rates, self.runs, self.cpu, self.nats_cpu, self.seconds = [], [], 0, 0.0, 0.0, 0.0

    def add(self, latencies, rate, seconds, cpu, nats_cpu):
        self.latencies += latencies
        self.rates.append(rate)
        self.runs += len(latencies)
        self.seconds += seconds
        self.cpu += cpu
        self.nats_cpu += nats_cpu

    def summary(self):
        cuts = statistics.quantiles(self.latencies, n=100)
        return {"per_second": statistics.median(self.rates), "p50_ms": cuts[49], "p99_ms": cuts[98], "cpu_ms": 1000 * self.cpu / self.runs,
                "nats_cpu_ms": 1000 * self.nats_cpu / self.runs, "used": self.cpu / self.seconds}


async def measure(row, kind, how, rate, seconds, cell):
    await asyncio.sleep(min(REST, seconds))
    before, begun = row.fleet.cpu(), time.perf_counter()
    senders = row.senders[kind]
    latencies, found = await (load.keep_busy(senders, seconds) if how == BUSY else load.arrive(senders, rate * row.size, seconds))
    after = row.fleet.cpu()
    if how == BUSY:
        row.memory = tuple(map(max, row.memory, row.fleet.memory_bytes()))
    if cell:
        cell.add(latencies, found, time.perf_counter() - begun, after[0] - before[0], after[1] - before[1])


async def fleets(rows, rounds, seconds):
    """Returns summaries by (kind, load, row)."""
    for row in rows:
        await row.connect()
    cells = {(kind, how, row.name): Cell() for kind in KINDS for how in (BUSY, *LOADS) for row in rows}
    for number in range(-1, rounds):        # the first round only warms up
        for kind in KINDS:
            one = cells[kind, BUSY, "1 worker"].rates
            for how in (BUSY, *LOADS):
                if number < 0 and how != BUSY:
                    continue
                for row in rows:
                    await measure(row, kind, how, LOADS.get(how, 0) * (statistics.median(one) if one else 0), seconds if number >= 0 else min(seconds, 0.5),
                                  cells[kind, how, row.name] if number >= 0 else None)
    return {key: cell.summary() for key, cell in cells.items()}


def model(found, kind):
    """Three constants, fitted on fleets of 1 and 2 workers: `runs`, how many a worker does in a second when it is busy; `nats`, the milliseconds of
    the NATS server's processor time for one; `rest`, the milliseconds at p50 of a run in a fleet at a quarter of its load. Returns them, and for the
    largest fleet (name, predicted, measured)."""
    busy = {size: found[kind, BUSY, name_of(size)] for size in SIZES}
    runs = sum(size * busy[size]["per_second"] for size in FITTED) / sum(size * size for size in FITTED)
    nats = statistics.mean(busy[size]["nats_cpu_ms"] for size in FITTED)
    rest = statistics.mean(found[kind, "25 %", name_of(size)]["p50_ms"] for size in FITTED)
    last = SIZES[-1]
    predicted = [("per second, busy", last * runs, busy[last]["per_second"]),
                 ("mean latency when busy, ms (requests in flight / runs per second)", 1000 * IN_FLIGHT / runs, 1000 * IN_FLIGHT * last / busy[last]["per_second"]),
                 ("p50 at 25 %, ms", rest, found[kind, "25 %", name_of(last)]["p50_ms"])]
    if nats:
        predicted.append(("NATS server, part of a processor, busy", last * runs * nats / 1000, busy[last]["per_second"] * busy[last]["nats_cpu_ms"] / 1000))
    return {"runs": runs, "nats": nats, "rest": rest}, predicted


def name_of(size):
    return "%d worker%s" % (size, "" if size == 1 else "s")


def print_fleets(found, quota, memory):
    print("Each worker: %s of a processor. %d requests in flight for each worker when busy." % (quota or "no limit", IN_FLIGHT))
    for kind in KINDS:
        print("\n%-14s %-6s %-10s %9s %9s %9s %8s %9s %9s" % (kind, "load", "", "per s", "p50 ms", "p99 ms", "/ 1 w.", "CPU ms", "NATS ms"))
        for how in (BUSY, *LOADS):
            one = found[kind, how, "1 worker"]["per_second"]
            for name in ("HTTP", *map(name_of, SIZES)):
                cell = found[kind, how, name]
                print("%-14s %-6s %-10s %9.1f %9.2f %9.2f %8.2f %9.3f %9.3f" % (
                    "", how, name, cell["per_second"], cell["p50_ms"], cell["p99_ms"], cell["per_second"] / one, cell["cpu_ms"], cell["nats_cpu_ms"]))
        constants, predicted = model(found, kind)
        print("model: %.1f per second and busy worker, NATS server %.3f ms each, p50 at rest %.2f ms" % (constants["runs"], constants["nats"], constants["rest"]))
        for name, guess, real in predicted:
            print("  %s: predicted %.2f, measured %.2f, error %+.1f %%" % (name, guess, real, 100 * (guess - real) / real))
    cell = found["runs", BUSY, name_of(SIZES[-1])]
    if cell["cpu_ms"]:
        print("\na million runs: %.0f s of processor time at the workers, %.0f s at the NATS server; at most %.0f MiB of memory a worker with %d sessions, "
              "%.0f MiB the NATS server" % (1000 * cell["cpu_ms"], 1000 * cell["nats_cpu_ms"], memory[0] / 2 ** 20, IN_FLIGHT, memory[1] / 2 ** 20))


def print_limits(found, fleet_found):
    print("\n%-44s %10s %10s %12s" % ("nats-server, request and answer", "per s", "p50 ms", "CPU us each"))
    for size, row in found["echo"].items():
        print("%-44s %10.0f %10.3f %12.1f" % ("%s bytes" % size, row["per_second"], row["p50_ms"], row["cpu_us"]))
    for name, row in found["claims"].items():
        print("%-44s %10.0f %10.3f %12.1f   one at a time: p50 %.2f ms, p99 %.2f ms" % (
            "claim of a session, " + name, row["per_second"], row["p50_ms"], row["cpu_us"], row["one_p50_ms"], row["one_p99_ms"]))
    if not fleet_found:
        return
    constants, _ = model(fleet_found, "runs")
    if not constants["nats"]:
        return
    whole = constants["runs"] / fleet_found["runs", BUSY, "1 worker"]["used"]
    print("A worker with a whole processor does %.0f runs per second. So one processor of nats-server is enough for %.0f workers, by the processor time of"
          " the fleets above, in which each message wakes it; and for %.0f, by that of many requests at a time." % (
              whole, 1000 / constants["nats"] / whole, 1e6 / found["echo"][128]["cpu_us"] / whole))
    for name, row in found["claims"].items():
        print("claims of sessions, %s: enough for %.0f workers if each run had a session of its own" % (name, row["per_second"] / whole))


def driver(command):
    return subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def drivers(build, fleet, folder):
    """The clients that are built here, by name. Each makes a call for a line."""
    urls = [fleet.http_url, TOKEN, fleet.server.url]
    venv = subprocess.run([ROOT / "tools/python-venv.sh", build], stdout=subprocess.PIPE, text=True)
    if venv.returncode == 0:
        yield "Python", driver([venv.stdout.strip(), ROOT / "bench/fleet_calls.py", *urls])
    typescript = subprocess.run([ROOT / "tools/typescript-build.sh", build], stdout=subprocess.PIPE, text=True)
    if typescript.returncode == 0:
        yield "TypeScript", driver(["node", ROOT / "bench/fleet_calls.mjs", typescript.stdout.strip() + "/dist/index.js", *urls])
    classes = ROOT / "clients/java/ali-langengine-pyexecutor/target/classes"
    nats = sorted(pathlib.Path.home().glob(".m2/repository/io/nats/jnats/*/jnats-*.jar"))
    if (classes / "com/alibaba/langengine/pyexecutor/PyExecutor.class").exists() and nats and shutil.which("javac"):
        subprocess.run(["javac", "-cp", classes, "-d", folder, ROOT / "bench/FleetCalls.java"], check=True)
        yield "Java", driver(["java", "-cp", "%s:%s:%s" % (folder, classes, nats[-1]), "FleetCalls", *urls])
    else:
        print("the Java client is not built: mvn -f clients/java compile", file=sys.stderr)


def ask(process, line):
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()
    return float(process.stdout.readline()) / 1000


def turns(ways, number):
    """The order changes each time, so that no way always follows another."""
    return list(ways)[::1 if number % 2 else -1]


async def raw_calls(fleet, rounds):
    """Without a client: one connection each, as in the fleets. Clients ask for events over NATS, so that they can cancel a run."""
    nats, http = await load.dial(load.NatsLink, fleet.server.port), await load.dial(load.HttpLink, fleet.http_port)
    ways = {"http": lambda: http.ask(b"/v1/execute", BODY, TOKEN.encode()), "nats": lambda: nats.ask(b"pyexec.v1.run", BODY),
            "events": lambda: nats.ask(b"pyexec.v1.run", BODY, b"Accept: text/event-stream\r\n")}
    taken = {way: [] for way in ways}
    for number in range(rounds + BLOCK):
        for way in turns(ways, number):
            await asyncio.sleep(PAUSE)
            begun = time.perf_counter()
            await ways[way]()
            if number >= BLOCK:
                taken[way].append((time.perf_counter() - begun) * 1000)
    return taken


def clients(build, fleet, rounds):
    """Returns the latencies in ms by client and way; and, of the Python client, by size of the input and way."""
    raw = asyncio.run(raw_calls(fleet, rounds))
    found = {"no client": {"http": raw["http"], "nats": raw["nats"]}, "with events": {"http": raw["http"], "nats": raw["events"]}}
    with tempfile.TemporaryDirectory() as folder:
        running = dict(drivers(build, fleet, folder))
        found.update({name: {"http": [], "nats": []} for name in running})
        for number in range(-3 * BLOCK, rounds):        # Java compiles its hot methods meanwhile
            for name, process in running.items():
                for way in turns(("http", "nats"), number):
                    time.sleep(PAUSE)
                    got = ask(process, way)
                    if number >= 0:
                        found[name][way].append(got)
        sizes = {}
        if "Python" in running:
            for size in (1 << 20, 31 << 20):
                sizes[size] = {way: [] for way in ("http", "nats")}
                for _ in range(max(3, rounds // 60)):
                    for way in ("http", "nats"):
                        sizes[size][way].append(ask(running["Python"], "%s %d" % (way, size)))
        for process in running.values():
            process.stdin.close()
            process.wait()
    return found, sizes


def print_clients(found, sizes):
    print("\n%-12s %10s %10s %18s %9s %9s %16s" % ("one run, ms", "HTTP p50", "NATS p50", "NATS adds: p10", "p25", "p50", "p99"))
    for name, ways in found.items():
        cuts = {way: statistics.quantiles(taken, n=100) for way, taken in ways.items()}
        adds = ["%9.2f" % (cuts["nats"][at] - cuts["http"][at]) for at in (9, 24, 49)]
        print("%-12s %10.2f %10.2f %18s %s %s %16s" % (name, cuts["http"][49], cuts["nats"][49], *adds, "%.1f / %.1f" % (cuts["http"][98], cuts["nats"][98])))
    for size, ways in sizes.items():
        middle = {way: statistics.median(taken) for way, taken in ways.items()}
        print("an input of %2d MiB (Python): HTTP %.1f ms, NATS %.1f ms" % (size >> 20, middle["http"], middle["nats"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", nargs="?", default=str(ROOT / "build"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each measurement")
    parser.add_argument("--quota", type=float, default=0.25, help="the part of a processor that each worker has")
    parser.add_argument("--calls", type=int, default=CLIENT_ROUNDS, help="of each client and way")
    parser.add_argument("--parts", default="fleets,nats,clients")
    parser.add_argument("--json", help="also writes everything there")
    options = parser.parse_args()
    parts, build = options.parts.split(","), os.path.abspath(options.build)
    program, everything, begun = Program(os.path.join(build, "pyexec")), {}, time.time()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    found = None
    with contextlib.ExitStack() as stack:
        if "fleets" in parts:
            alone, made = Fleet(program, 1, options.quota, stack), {size: Fleet(program, size, options.quota, stack) for size in SIZES}
            if not made[1].shares:
                print("no group for processor time can be made here: the workers have no limit, and nothing is accounted (needs root)", file=sys.stderr)
            rows = [Row("HTTP", alone, True), *(Row(name_of(size), made[size], False) for size in SIZES)]
            found = asyncio.run(fleets(rows, options.rounds, options.seconds))
            memory = rows[-1].memory
            everything["fleets"] = {" / ".join(key): value for key, value in found.items()}
            everything["memory"] = memory
            print_fleets(found, options.quota if made[1].shares else 0, memory)
    if "nats" in parts:
        everything["nats"] = limits(options.seconds)
        print_limits(everything["nats"], found)
    if "clients" in parts:
        with contextlib.ExitStack() as stack:
            latencies, sizes = clients(build, Fleet(program, 1, None, stack), options.calls)
        everything["clients"], everything["sizes"] = latencies, sizes
        print_clients(latencies, sizes)
    print("\nit took %.0f s; load of the machine: %.1f on %d processors" % (time.time() - begun, os.getloadavg()[0], os.cpu_count()))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(everything, file)


if __name__ == "__main__":
    main()

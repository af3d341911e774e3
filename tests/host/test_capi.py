"""libpyexec in unusual host programs, and HumanEval through its accessors.

Threads, cycles, SIGCHLD, waitpid(-1), cancel and interrupt are in test_embedding.py.
"""
import subprocess

import pytest

from test_real_input import expected, problems  # noqa: F401 (a fixture)


@pytest.fixture(scope="session")
def hosts(compile_host):
    return compile_host("capi_hosts.c")


@pytest.mark.parametrize("scenario", ["maker-thread-ends", "interrupted-before", "cancelled-before", "output-cancels", "no-streams",
                                      "all-signals-blocked", "out-of-descriptors", "no-descriptors-for-sessions", "freed-with-a-queue", "overloaded",
                                      "refused", "no-configuration"])
def test_host(hosts, scenario, nothing_left):
    done = subprocess.run([hosts, scenario], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_humaneval_through_the_accessors_with_the_default_bans(compile_host, shared, expected, capsys):  # noqa: F811
    # The default bans stay in force: no problem needs a banned module.
    scripts = [(task, solved, code.encode()) for task, solved, code in problems(shared)]
    done = subprocess.run([compile_host("capi_humaneval.c")], capture_output=True, timeout=300,
                          input=b"".join(b"%d\n%s" % (len(code), code) for _, _, code in scripts))
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert len(rows) == len(scripts) == 328
    for (task, solved, _), (_, status, exit_code, type_, line) in zip(scripts, rows):
        wanted = ("ok", "0", "-", "0") if solved else ("error", "1", expected[task, False][0], str(expected[task, False][1]))
        assert (status, exit_code, type_, line) == wanted, (task, solved)
    times = sorted(float(row[0]) for row in rows)
    with capsys.disabled():
        print("\nHumanEval, C accessors: p50 %.2f ms, p99 %.2f ms per problem" % (times[164], times[324]))

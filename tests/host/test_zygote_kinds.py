"""Kinds of zygotes: how many stay, which one leaves, and that a slow start of one holds up nobody else."""
import itertools
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from library import Executor, Failure

ORDERS = list(itertools.permutations(["abc", "codecs", "io", "stat", "posixpath"]))     # modules that each interpreter has already


def kinds(executor):
    return sum(executor.stats()["zygote_kinds"].values())


def policy(number):
    """One of 120 policies that need zygotes of their own, all of the same size: their preloads differ in the order."""
    return {"preload_imports": list(ORDERS[number])}


@pytest.fixture(scope="module")
def slow(session_folder):
    """An environment with a module that imports only when a file is there, and the path of this file."""
    folder = session_folder / "slow"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", folder], check=True)
    site = next((folder / "lib").iterdir()) / "site-packages"
    (site / "slow_module.py").write_text("import os, time\nwhile not os.path.exists(os.path.dirname(__file__) + '/go'): time.sleep(0.01)\n")
    (site / "broken_module.py").write_text("import os, time\nwhile not os.path.exists(os.path.dirname(__file__) + '/fail'): time.sleep(0.01)\nraise ValueError('broken')\n")
    for path in [site / "slow_module.py", site / "broken_module.py"]:
        os.chmod(path, 0o644)
    return site, {"python_bin": str(folder / "bin" / "python3"), "isolate_site": False}


def test_more_kinds_than_runs_at_once_all_run_and_stay():
    with Executor(host={"zygotes": 1, "pool_size": 4, "zygote_memory": "2G", "max_concurrent": 8}) as executor, ThreadPoolExecutor(16) as threads:
        for _ in range(2):
            values = list(threads.map(lambda i: executor.call(None, "%d * 2" % i, policy=policy(i))["last_value_repr"], range(12)))
            assert values == [str(2 * i) for i in range(12)]
        stats = executor.stats()
        assert stats["zygote_kinds"] == {"none": 13} and stats["zygote_starts"] == 13
        assert 12 << 20 < stats["zygote_memory_bytes"]["none"] < 2 << 30


def test_without_memory_the_least_recently_used_kind_leaves():
    with Executor(policy(0), host={"zygotes": 1}) as executor:
        one = executor.stats()["zygote_memory_bytes"]["none"]
    with Executor(policy(0), host={"zygotes": 1, "zygote_memory": 3 * one + one // 2}) as executor:
        starts = []
        for number in [1, 2, 0, 1, 3, 4, 1, 2]:        # 0 is that of the executor
            executor.call(None, "1", policy=policy(number))
            starts.append(executor.stats()["zygote_starts"])
            assert kinds(executor) <= 3
        # 3 takes the place of 2, 4 that of 0, and 2, which is started again, that of 3.
        assert starts == [2, 3, 3, 3, 4, 5, 5, 6]


def test_a_kind_that_a_session_uses_stays_and_too_many_are_refused():
    with Executor(host={"zygotes": 1, "zygote_memory": 1 << 20}) as executor:
        executor.call("s", "a = 5", session_policy=policy(1))
        with pytest.raises(Failure) as caught:
            executor.call(None, "1", policy=policy(2))
        assert caught.value.code == "overloaded" and "zygote_memory" in caught.value.message + caught.value.hint
        assert executor.call("s", "a * 2")["last_value_repr"] == "10"
        executor.close("s")
        assert executor.call(None, "7", policy=policy(2))["last_value_repr"] == "7"


def test_a_start_that_takes_long_holds_up_no_other_kind_and_two_callers_start_one(slow):
    site, base = slow
    with Executor(host={"zygotes": 1}) as executor, ThreadPoolExecutor(4) as threads:
        cold = [threads.submit(executor.call, None, "40 + 2", policy={**base, "preload_imports": ["slow_module"]}) for _ in range(3)]
        while kinds(executor) < 2:
            time.sleep(0.01)
        assert executor.call(None, "1")["last_value_repr"] == "1"
        assert executor.call(None, "2", policy=policy(5))["last_value_repr"] == "2"      # cold too
        assert not any(call.done() for call in cold)
        (site / "go").write_text("")
        assert [call.result()["last_value_repr"] for call in cold] == ["42"] * 3
        assert executor.stats()["zygote_starts"] == 3


def test_those_who_wait_for_a_start_that_fails_get_its_error_and_the_next_call_tries_again(slow):
    site, base = slow
    with Executor(host={"zygotes": 1}) as executor, ThreadPoolExecutor(4) as threads:
        request = {**base, "preload_imports": ["broken_module"]}
        cold = [threads.submit(executor.call, None, "1", policy=request) for _ in range(3)]
        while kinds(executor) < 2:
            time.sleep(0.01)
        (site / "fail").write_text("")
        for call in cold:
            with pytest.raises(Failure) as caught:
                call.result()
            assert caught.value.code == "invalid_policy" and "broken" in caught.value.message
        assert kinds(executor) == 1
        (site / "broken_module.py").write_text("")
        assert executor.call(None, "1", policy=request)["last_value_repr"] == "1"


def test_many_kinds_share_the_waiting_children():
    with Executor(host={"zygotes": 1, "pool_size": 8, "zygote_memory": "2G"}) as executor:
        def warm(numbers):
            for number in list(numbers) * 3:
                executor.call(None, "1", policy=policy(number))
        warm([1])
        while executor.stats()["pool_ready"] < 8:
            time.sleep(0.02)
        warm(range(1, 17))                                # 8 * 8 / 17 = 3 for each
        while not 17 < executor.stats()["pool_ready"] <= 17 * 3:
            time.sleep(0.05)

# SPDX-License-Identifier: Apache-2.0
"""The zygotes of environments: many at once, updates and removals while runs and sessions use them, and a damaged store."""
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import env_stores
import stores
from env_executors import run, start
from library import Failure
from waiting import wait_until

MANY = 50


def is_held(folder):
    """True if somebody holds the lock of the environment's folder."""
    with open(folder + "/lock", "r+") as lock:
        return not env_stores.lock(lock, exclusive=True)


@pytest.fixture
def store(open_folder):
    return stores.HandMadeStore(open_folder / "environments")


@pytest.fixture
def executor(pyexec, store):
    return lambda **keywords: start(pyexec, store, **keywords)


def test_fifty_environments_at_once_under_load(own, store):
    for i in range(MANY):
        store.add("env%d" % i, {"own": "NUMBER = %d\n" % i})
    with start(own, store, host={"pool_size": 2, "zygote_memory": "4G", "max_concurrent": 4}) as started, ThreadPoolExecutor(8) as threads:
        for _ in range(2):
            got = list(threads.map(lambda i: run(started, "env%d" % i, "import own; own.NUMBER"), range(MANY)))
            assert got == [str(i) for i in range(MANY)]
        stats = started.stats()
        assert stats["zygote_kinds"] == {"none": 1, **{"env%d" % i: 1 for i in range(MANY)}}
        assert stats["zygote_starts"] == MANY + 1
        assert min(stats["zygote_memory_bytes"].values()) > 1 << 20


def test_the_next_call_has_an_update_and_sessions_keep_the_old_files(executor, store):
    old = store.add("data", {"tool": "VERSION = 1\n", "late": "WHICH = 'old'\n"})
    with executor() as started:
        assert run(started, "data", "import tool; tool.VERSION", "s") == "1"
        assert run(started, "data", "import tool; tool.VERSION") == "1"
        new = store.add("data", {"tool": "VERSION = 2\n", "late": "WHICH = 'new'\n"})
        assert run(started, "data", "import tool; tool.VERSION") == "2"
        assert run(started, "data", "import tool; tool.VERSION", "other") == "2"
        assert started.call("s", "import late; tool.VERSION, late.WHICH")["last_value_repr"] == "(1, 'old')"
        assert is_held(old) and is_held(new)
        started.close("s")
        # The old zygotes end, so that the old files can be removed. A call notices it, at most once a second.
        wait_until(lambda: run(started, "data", "1") == "1" and not is_held(old))
        assert is_held(new) and started.stats()["zygote_kinds"] == {"none": 1, "data": 1}
    assert not is_held(new)


def test_two_names_of_the_same_files_share_zygotes(executor, store):
    store.add("one", {"tool": "VERSION = 1\n"})
    os.symlink(os.readlink(store.root + "/names/one"), store.root + "/names/two")
    with executor() as started:
        assert run(started, "one", "import tool; tool.VERSION") == run(started, "two", "import tool; tool.VERSION") == "1"
        assert started.stats()["zygote_kinds"] == {"none": 1, "one": 1}


def test_files_that_were_deleted_by_hand_are_named_and_others_run(executor, store):
    folder = store.add("data", {"tool": "VERSION = 1\n"})
    store.add("other", {"tool": "VERSION = 2\n"})
    with executor() as started:
        assert run(started, "data", "import tool; tool.VERSION") == "1"
        shutil.rmtree(folder)
        with pytest.raises(Failure) as caught:
            run(started, "data", "1")
        assert caught.value.code == "python_not_found" and folder in caught.value.message and "pyexec env update data" in caught.value.hint
        assert run(started, "other", "import tool; tool.VERSION") == "2"
        store.add("data", {"tool": "VERSION = 1\n"})
        assert run(started, "data", "import tool; tool.VERSION") == "1"


def test_a_name_that_was_removed_is_unknown_at_once_and_its_session_goes_on(executor, store):
    folder = store.add("data", {"tool": "VERSION = 1\n", "late": "WHICH = 1\n"})
    with executor() as started:
        run(started, "data", "import tool", "s")
        os.unlink(store.root + "/names/data")
        with pytest.raises(Failure) as caught:
            run(started, "data", "1")
        assert caught.value.code == "invalid_policy" and "no environment 'data'" in caught.value.message
        assert started.call("s", "import late; late.WHICH")["last_value_repr"] == "1"
        started.close("s")
        wait_until(lambda: started.call(None, "1") and not is_held(folder))


@pytest.mark.parametrize("below", ["", "names", "store"])
def test_a_store_that_others_can_write_to_is_refused(executor, store, below):
    store.add("data", {"tool": ""})
    os.chmod(os.path.join(store.root, below), 0o777)
    with executor() as started:
        with pytest.raises(Failure) as caught:
            run(started, "data", "1")
        assert caught.value.code == "sandbox_unavailable" and "all users can write" in caught.value.message and "chmod go-w" in caught.value.hint
        assert started.call(None, "1")["last_value_repr"] == "1"


def test_two_first_calls_start_one_and_preloads_are_there(executor, store):
    store.add("warm", {"tool": "import time\ntime.sleep(0.2)\nBORN = time.monotonic()\n"}, preload=["tool"])
    with executor() as started, ThreadPoolExecutor(4) as threads:
        born = set(threads.map(lambda _: run(started, "warm", "import tool; tool.BORN"), range(4)))
        assert len(born) == 1 and started.stats()["zygote_starts"] == 2

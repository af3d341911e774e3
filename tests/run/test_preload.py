"""Preloaded modules: numpy and pandas work completely, runs share no state, and preloads that misbehave."""
import os
import random
import subprocess

import pytest

from library import Executor

ANY = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False}
RUNS = 50

# Each value must differ in every run, whatever the warm parent has imported and used.
SOURCES = {
    "random.random()": "random", "random.Random().random()": "random", "random.SystemRandom().random()": "random",
    "random.gauss(0, 1)": "random", "random.getrandbits(64)": "random", "random.sample(range(10**9), 2)": "random", "str(uuid.uuid4())": "uuid",
    "str(uuid.uuid1())": "uuid", "secrets.token_hex(8)": "secrets", "os.urandom(8)": "os", "ssl.RAND_bytes(8)": "ssl",
    "next(tempfile._get_candidate_names())": "tempfile",
}
NUMPY = {
    "numpy.random.random()": "numpy", "numpy.random.default_rng().random()": "numpy", "numpy.random.RandomState().rand()": "numpy",
    "numpy.random.randint(1 << 60)": "numpy", "numpy.random.SeedSequence().entropy": "numpy",
    "numpy.random.normal()": "numpy", "numpy.random.permutation(100).tolist()": "numpy", "int(numpy.random.get_state()[1][0])": "numpy",
}


@pytest.fixture(scope="session")
def environment(session_folder):
    """Makes a virtual environment without packages, for modules of the tests."""
    folder = session_folder / "preloads"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def site(environment):
    return next((environment / "lib").iterdir()) / "site-packages"


@pytest.fixture
def preload(environment, site):
    """Writes a module and gives the flags that preload it."""
    def write(text):
        (site / "module_of_the_test.py").write_text(text)
        os.chmod(site / "module_of_the_test.py", 0o644)
        return ["--python-bin", str(environment / "bin" / "python3"), "--isolate-site=false", "--any-import",
                "--preload-imports", "module_of_the_test"]
    return write


@pytest.fixture(scope="session")
def flags(science):
    return ["--python-bin", science, "--isolate-site=false", "--preload-imports", "numpy,pandas",
            "--allow-import", "numpy,pandas,io", "--address-space-bytes", "2G"]


# New state in every run

def differ(executor, sources, sessions, preloaded=()):
    code = "import %s\n[%s]" % (", ".join(sorted(set(sources.values()))), ", ".join("repr(%s)" % source for source in sources))
    rows = []
    for i in range(RUNS):
        result = executor.call("s%d" % i if sessions else None, code)
        assert result["status"] == "ok", result
        rows.append(eval(result["last_value_repr"]))
    for source, values in zip(sources, zip(*rows)):
        assert len(set(values)) == RUNS, "%s: %d different values in %d runs" % (source, len(set(values)), RUNS)


@pytest.mark.parametrize("sessions", [False, True], ids=["runs", "sessions"])
@pytest.mark.parametrize("pool", [0, 16], ids=["cold", "pooled"])
@pytest.mark.parametrize("preloads", [[], ["random", "uuid", "secrets", "ssl", "tempfile"]], ids=["bare", "preloaded"])
def test_50_runs_of_one_warm_parent_draw_50_values(preloads, pool, sessions):
    with Executor(dict(ANY, preload_imports=preloads), {"max_count": 0}, {"zygotes": 1, "pool_size": pool}) as executor:
        differ(executor, SOURCES, sessions)


@pytest.mark.parametrize("sessions", [False, True], ids=["runs", "sessions"])
def test_50_runs_with_numpy_preloaded_draw_50_values(science, sessions):
    policy = dict(ANY, python_bin=science, isolate_site=False, preload_imports=["numpy", "numpy.random", "random"], address_space_bytes=2 << 30)
    with Executor(policy, {"max_count": 0}, {"zygotes": 1}) as executor:
        # Some releases of numpy import it only at its first use.
        assert executor.call(None, "import sys\n'numpy.random.mtrand' in sys.modules")["last_value_repr"] == "True"
        differ(executor, {**SOURCES, **NUMPY}, sessions)


def test_a_preload_that_used_and_seeded_the_generators_fixes_nothing(environment, site):
    (site / "seeding.py").write_text("import random, uuid, tempfile, secrets, ssl\nrandom.seed(1)\nrandom.random()\nrandom.gauss(0, 1)\nuuid.uuid4()\n"
                                     "uuid.uuid1()\nssl.RAND_bytes(9)\nnext(tempfile._get_candidate_names())\n")
    policy = dict(ANY, python_bin=str(environment / "bin" / "python3"), isolate_site=False, preload_imports=["seeding"])
    with Executor(policy, None, {"zygotes": 1}) as executor:
        differ(executor, SOURCES, False)


def test_a_seed_of_the_scripts_gives_the_same_numbers(own):
    random.seed(7)
    expected = repr((random.random(), random.randrange(1000), random.choice("abc")))
    code = "import random\nrandom.seed(7)\nrandom.random(), random.randrange(1000), random.choice('abc')"
    assert {own.result(code)["last_value_repr"] for _ in range(3)} == {expected}


def test_what_one_run_does_to_a_preload_no_other_sees(environment, site):
    (site / "shared_state.py").write_text("seen = []\n")
    policy = dict(ANY, python_bin=str(environment / "bin" / "python3"), isolate_site=False, preload_imports=["shared_state", "json"])
    with Executor(policy, None, {"zygotes": 1}) as executor:
        for name in [None] * 20 + ["a", "b"]:
            code = "import shared_state, json\nshared_state.seen.append(1)\njson.planted = len(shared_state.seen)\nshared_state.seen"
            assert executor.call(name, code)["last_value_repr"] == "[1]"
        assert executor.call(None, "import json\nhasattr(json, 'planted')")["last_value_repr"] == "False"


# numpy and pandas

@pytest.mark.parametrize("code, value", [
    ("float((np.arange(6.).reshape(2, 3) @ np.ones((3, 2))).sum())", "30.0"),
    ("np.round(np.linalg.svd(np.diag([3., 2.]))[1], 6).tolist()", "[3.0, 2.0]"),
    ("float(abs(np.fft.ifft(np.fft.fft([1., 2.]))[1]))", "2.0"),
    ("np.sort(np.array([3, 1, 2]))[::-1].tolist()", "[3, 2, 1]"),
    ("str(np.datetime64('2024-02-28') + np.timedelta64(2, 'D'))", "'2024-03-01'"),
    ("bool(np.isclose(np.linalg.solve(np.eye(200) * 2, np.ones(200)), .5).all())", "True"),
    ("np.frombuffer(b'\\1\\0\\2\\0', np.int16).tolist()", "[1, 2]"),
    ("pd.read_csv(io.StringIO('a,b\\n1,2\\n3,4')).sum().to_dict()", "{'a': 4, 'b': 6}"),
    ("pd.DataFrame({'k': list('aab'), 'v': [1, 2, 3]}).groupby('k').v.sum().to_dict()", "{'a': 3, 'b': 3}"),
    ("pd.merge(pd.DataFrame({'k': [1, 2]}), pd.DataFrame({'k': [2, 3], 'v': [5, 6]})).values.tolist()", "[[2, 5]]"),
    ("str(pd.to_datetime('2024-01-31') + pd.offsets.MonthEnd(1))[:10]", "'2024-02-29'"),
    ("pd.Series([1, 2, 3]).rolling(2).mean().dropna().tolist()", "[1.5, 2.5]"),
    ("pd.Series([1, 2]).to_json()", "'{\"0\":1,\"1\":2}'"),
    ("pd.date_range('2024-01-01', periods=2, tz='UTC').strftime('%d').tolist()", "['01', '02']"),
    ("len(repr(pd.DataFrame(np.ones((1000, 30))))) > 100", "True"),
])
def test_numpy_and_pandas_do_real_work(own, flags, code, value):
    result = own.result("import io\nimport numpy as np\nimport pandas as pd\n" + code, *flags)
    assert (result["status"], result["last_value_repr"], result["stderr"]) == ("ok", value, ""), result
    # pandas itself looks into /sys/fs/cgroup for its number of threads.
    assert [d for d in result["denials"] if "/sys/fs/cgroup" not in d["what"]] == [], result


def test_numpy_and_pandas_as_each_user(pyexec, flags, nothing_left):
    result = pyexec.result("import numpy as np\nimport pandas as pd\nint(pd.Series(np.arange(5)).sum())", *flags)
    assert result["last_value_repr"] == "10" and result["denials"] == [], result


def test_numpy_and_pandas_read_and_write_the_workspace(pyexec, flags):
    code = ("import numpy as np\nimport pandas as pd\nnp.save('a.npy', np.arange(3))\npd.DataFrame({'x': [1, 2]}).to_csv('a.csv', index=False)\n"
            "np.load('a.npy').tolist(), pd.read_csv('a.csv').x.tolist()")
    result = pyexec.result(code, *flags, "--files", "full")
    assert result["last_value_repr"] == "([0, 1, 2], [1, 2])", result
    assert [(file["path"], file["change"]) for file in result["files"]] == [("a.csv", "created"), ("a.npy", "created")]
    for line in ("np.load('/etc/passwd')", "np.fromfile('/etc/passwd')", "np.loadtxt('/etc/passwd')", "pd.read_csv('/etc/passwd')"):
        result = pyexec.result("import numpy as np\nimport pandas as pd\n" + line, *flags, "--files", "full")
        assert result["status"] == "error" and "root:" not in str(result), (line, result)
        # numpy.loadtxt() first checks whether such a file exists, and it does not.
        assert "outside sandbox" in result["error_repr"] or "loadtxt" in line, (line, result)


def test_preloads_are_no_permission_to_import(own, science):
    flags = ["--python-bin", science, "--isolate-site=false", "--preload-imports", "numpy,pandas", "--address-space-bytes", "2G"]
    for name in ("numpy", "pandas"):
        result = own.result("import " + name, *flags)
        assert result["error_repr"].startswith("ImportError: import '%s' not allowed" % name), result


def test_numpy_is_not_there_with_isolate_site(own, science):
    error = own.error("1", "--python-bin", science, "--preload-imports", "numpy")
    assert error["code"] == "invalid_policy" and "preload_imports" in error["message"] and "numpy" in error["message"]
    assert "isolate_site" in error["hint"]


def test_preloads_that_do_not_fit_are_named(own, flags):
    error = own.error("1", *flags[:-1], "64M")
    assert error["code"] == "invalid_policy" and "address_space_bytes" in error["message"] and "at least" in error["message"]


def test_numpy_needs_no_thread_of_its_own(own, flags):
    code = "import numpy as np\nfloat((np.ones((300, 300)) @ np.ones((300, 300)))[0, 0])"
    assert own.result(code, *flags, "--max-threads", "1")["last_value_repr"] == "300.0"


@pytest.mark.parametrize("line", ["np.ones(1 << 30)", "np.zeros((1 << 20, 1 << 11))", "pd.DataFrame(np.ones((1 << 27, 3)))", "np.arange(1 << 40)"])
def test_numpy_beyond_the_memory_limit_is_memory_limit(own, flags, line):
    result = own.result("import numpy as np\nimport pandas as pd\nx = " + line, *flags)
    assert (result["status"], result["exit_code"]) == ("memory_limit", 1) and "address_space_bytes" in result["error"]["hint"], result
    caught = own.result("import numpy as np\nimport pandas as pd\ntry:\n    x = %s\nexcept MemoryError:\n    x = 'caught'\nx" % line, *flags)
    assert (caught["status"], caught["last_value_repr"]) == ("ok", "'caught'"), caught


# Preloads that misbehave

@pytest.mark.parametrize("name, text", [
    ("raises", "1 / 0"), ("does not compile", "x = ("), ("exits", "raise SystemExit(3)"), ("is interrupted", "raise KeyboardInterrupt"),
    ("needs what is not there", "import nosuchthing"), ("ends the process", "import os\nos._exit(0)"),
    ("crashes", "import ctypes\nctypes.string_at(0)"), ("aborts", "import os\nos.abort()"),
    ("leaves a thread", "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()"),
])
def test_a_preload_that_cannot_be_used_is_invalid_policy(own, preload, name, text, nothing_left):
    error = own.error("1", *preload(text + "\n"))
    assert error["code"] == "invalid_policy" and "preload_imports" in error["message"] and error["hint"], error


def test_a_preload_that_hangs_is_invalid_policy(own, preload, nothing_left):
    error = own.error("1", *preload("import time\ntime.sleep(1000)\n"), timeout=40)
    assert error["code"] == "invalid_policy" and "preload_imports" in error["message"] and error["hint"], error


PLAIN = ("import os, sys, threading\nprint('out')\nprint('err', file=sys.stderr)\nf = []\nfor n in range(64):\n    try:\n        os.fstat(n)\n"
         "        f.append(n)\n    except OSError:\n        pass\nf, os.getcwd(), sys.stdin.read(), threading.active_count()")


@pytest.mark.parametrize("name, text", [
    ("prints", "import sys\nprint('noise' * 20000)\nprint('noise', file=sys.stderr)\n"),
    ("reads its input", "import sys\nsys.stdin.read()\n"),
    ("replaces its streams", "import sys, io\nsys.stdout = io.StringIO()\nsys.stderr = None\nsys.stdin = None\n"),
    ("keeps files open", "import os\nkept = [os.open('/dev/null', os.O_RDONLY) for _ in range(20)]\n"),
    ("changes folder and mask", "import os\nos.chdir('/')\nos.umask(0o777)\n"),
    ("handles signals", "import signal\nfor n in (1, 2, 10, 14, 15, 24):\n    signal.signal(n, lambda *a: print('signal'))\nsignal.alarm(1)\n"),
    ("ignores signals", "import signal\nfor n in (1, 2, 10, 14, 15, 24):\n    signal.signal(n, signal.SIG_IGN)\n"),
    ("blocks signals", "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [2, 10, 14, 15, 24, 31])\n"),
    ("hooks", "import sys\nsys.excepthook = sys.displayhook = lambda *a: print('hook')\n"),
    ("traces", "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\n"),
    ("forks", "import os\nif os.fork() == 0:\n    os._exit(0)\n"),
    ("lowers limits", "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"),
    ("had a thread", "import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\n"),
])
def test_a_preload_that_leaves_a_mess_does_not_disturb_a_run(own, preload, name, text, nothing_left):
    flags = preload(text)
    result = own.result(PLAIN, *flags, input="in")
    assert result["status"] == "ok" and (result["stdout"], result["stderr"]) == ("out\n", "err\n"), result
    assert result["last_value_repr"] == "([0, 1, 2, 3], '/workspace', 'in', 1)", result
    result = own.result("try:\n    i = 0\n    while True: i += 1\nfinally:\n    print('clean')", *flags, "--timeout", "100ms")
    assert (result["status"], result["exit_code"], result["stdout"]) == ("timeout", 124, "clean\n"), result
    result = own.result("x = 1\nx / 0", *flags)
    assert result["error"]["line"] == 2 and result["stderr"] == result["error"]["traceback"] and result["stdout"] == "", result


def test_a_preload_finds_the_proc_that_a_run_has(pyexec, preload, nothing_left):
    """threadpoolctl, and so scikit-learn, reads /proc/self/maps in a run when it saw /proc/self while it was imported."""
    flags = preload("import os\nseen = os.listdir('/proc'), sorted(os.listdir('/proc/self')), os.path.getsize('/proc/self/maps')\n")
    result = pyexec.result("import module_of_the_test\nmodule_of_the_test.seen", *flags)
    assert result["last_value_repr"] == "(['self'], ['cmdline', 'exe', 'maps'], 0)", result

"""Two tenants of one program, side by side and one after another, under different policies: neither can see anything of the other."""
import secrets
import subprocess
import sys
import threading

import pytest

from library import Executor

OPEN = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False, "disable_open": False}
OTHER = {"allow_readonly_open": True, "max_threads": 4, "timeout_ms": 4000, "address_space_bytes": 400 << 20}
C = "import ctypes, os, sys, time, signal, socket\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.getenv.restype = ctypes.c_char_p\n"
FOLDERS = "('.', '/tmp', '/var/tmp', '/dev/shm', '/run', '/workspace', '/', os.environ.get('HOME', '/'), os.path.dirname(os.__file__))"

PLANT = C + """
import builtins, decimal, json, math, random, resource, threading
def each(*deeds):
    for deed in deeds:
        try: deed()
        except BaseException as error: print(type(error).__name__, error)
for folder in """ + FOLDERS + """:
    each(lambda: open(os.path.join(folder, 'planted'), 'w').write('planted'), lambda: os.mkdir(os.path.join(folder, 'planted-folder')))
each(lambda: libc.shmget(0x706c, 4096, 0o1666), lambda: libc.semget(0x706c, 1, 0o1666), lambda: libc.msgget(0x706c, 0o1666),
     lambda: libc.syscall(240, b'planted', 0o102, 0o600, None), lambda: libc.bind(socket.socketpair()[0].fileno(), b'\\1\\0\\0planted', 10))
os.environ['PLANTED'] = 'planted'
libc.setenv(b'PLANTED_C', b'planted', 1)
math.planted = json.planted = builtins.planted = sys.planted = 'planted'
sys.modules['planted'] = math
sys.path.insert(0, '/planted')
sys.setrecursionlimit(77777)
each(lambda: random.seed(4711), lambda: decimal.getcontext().__setattr__('prec', 5), lambda: os.umask(0), lambda: os.nice(5), lambda: os.chdir('/usr'),
     lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN), lambda: signal.setitimer(signal.ITIMER_REAL, 3600), lambda: resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, -1)),
     lambda: libc.prctl(15, b'planted', 0, 0, 0), lambda: libc.srand(4711), lambda: libc.sigprocmask(0, ctypes.create_string_buffer(b'\\xff' * 128), None),
     lambda: threading.Thread(target=time.sleep, args=(2,), daemon=True).start(), lambda: libc.dup2(1, 9), lambda: os.kill(-1, signal.SIGTERM))
mine = bytearray(b'planted-in-memory' * 1000)
class Rich:
    def _repr_html_(self):
        helper = sys._getframe(1).f_globals
        helper['planted'] = helper['send'] = helper['__builtins__']['repr'] = None
        return 'planted'
each(lambda: display(Rich()))
if hasattr(builtins, 'display'): del builtins.display
"""

FIND = C + """
import builtins, decimal, json, math, random, threading
found = []
def look(name, seen):
    try:
        if seen(): found.append(name)
    except BaseException: pass
for folder in """ + FOLDERS + """:
    look(folder, lambda: [name for name in os.listdir(folder) if 'planted' in name])
    look(folder + ' by path', lambda: os.path.lexists(folder + '/planted'))
look('shared memory', lambda: libc.shmget(0x706c, 0, 0) >= 0)
look('semaphore', lambda: libc.semget(0x706c, 0, 0) >= 0)
look('message queue', lambda: libc.msgget(0x706c, 0) >= 0)
look('POSIX queue', lambda: libc.syscall(240, b'planted', 0, 0, None) >= 0)
look('abstract socket', lambda: libc.connect(socket.socketpair()[0].fileno(), b'\\1\\0\\0planted', 10) == 0)
look('environment', lambda: 'PLANTED' in os.environ or libc.getenv(b'PLANTED') or libc.getenv(b'PLANTED_C'))
for module in (math, json, builtins, sys): look('module state', lambda: module.planted)
look('module', lambda: 'planted' in sys.modules or '/planted' in sys.path or sys.getrecursionlimit() == 77777)
look('main', lambda: mine)
look('random state', lambda: random.getstate() == random.Random(4711).getstate())
look('decimal', lambda: decimal.getcontext().prec == 5)
look('umask', lambda: os.umask(0o022) == 0)
look('nice', lambda: os.nice(0) != 0)
look('folder', lambda: os.getcwd() == '/usr')
look('handler', lambda: signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN)
look('mask', lambda: signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []))
look('timer', lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0)
look('threads', lambda: threading.active_count() > 1)
for n in range(4, 64): look('descriptors', lambda: os.fstat(n))
look('processes', lambda: [p for p in range(2, 3000) if libc.kill(p, 0) == 0])
helpers = []
class Rich:
    def _repr_html_(self):
        helper = sys._getframe(1).f_globals
        helpers.append('planted' in helper or not helper['send'] or not helper['__builtins__']['repr'])
        return 'found'
look('displays', lambda: 'display' not in dir(builtins) or display(Rich()) or helpers != [False])
look('own number', lambda: os.getpid() != 1 or os.getppid() != 0)
b = ctypes.create_string_buffer(16)
look('name', lambda: libc.prctl(16, b, 0, 0, 0) == 0 and b'planted' in b.value)
found
"""


def call(executor, who, code, policy):
    created = who is None or who not in {session["id"] for session in executor.sessions()}
    return executor.call(who, code, **({"policy": policy} if created else {}))


@pytest.mark.parametrize("pool", [0, 16], ids=["cloned", "pooled"])
@pytest.mark.parametrize("one, other", [(None, None), ("a", "b"), ("a", None), (None, "b")], ids=["run-run", "session-session", "session-run", "run-session"])
@pytest.mark.parametrize("policy", [{}, OTHER, {"disable_networking": False}], ids=["same", "other", "online"])
def test_what_one_run_plants_no_other_finds(one, other, policy, pool, nothing_left):
    with Executor(OPEN, host={"pool_size": pool, "max_concurrent": 8}) as executor:
        for _ in range(3):
            call(executor, one, PLANT, {})
            result = call(executor, other, FIND, policy)
            assert (result["status"], result["last_value_repr"]) == ("ok", "[]"), result
            assert [display["data"]["text/html"] for display in result["display"]] == ["found"], result
        planting = threading.Thread(target=call, args=(executor, one, PLANT + "time.sleep(0.5)\n", {}))
        planting.start()
        for _ in range(5):
            result = call(executor, other, FIND, policy)
            assert (result["status"], result["last_value_repr"]) == ("ok", "[]"), result
        planting.join()


def test_the_search_finds_what_is_there():
    """The control: a session that stores marks finds its own marks."""
    with Executor(OPEN) as executor:
        executor.call("a", PLANT)
        found = executor.call("a", FIND)["last_value_repr"]
    for name in ("environment", "module", "main", "decimal", "umask", "handler", "mask", "timer", "threads", "descriptors", "random state", "displays"):
        assert "'%s'" % name in found, (name, found)


# Reads all of its own memory near known addresses. For a page that does not exist, write(2) fails with EFAULT.
SCAN = C + """
import re, gc
r, w = os.pipe()
pattern = re.compile(rb'tenantsecret-[0-9a-f]{12}')
def page(address):
    n = libc.write(w, ctypes.c_void_p(address), ctypes.c_size_t(4096))
    return os.read(r, n) if n > 0 else None
libc.sbrk.restype = ctypes.c_void_p
names = [ctypes.cast(f, ctypes.c_void_p).value for f in (libc.write, libc.environ, ctypes.pythonapi.Py_GetVersion, ctypes.pythonapi.PyType_Type)]
seeds = names + [libc.sbrk(0), id(None), id(object()), id(names), ctypes.addressof(ctypes.create_string_buffer(9)), id(pattern)]
seeds += [ctypes.c_void_p.in_dll(libc, 'environ').value or 0]
for thing in gc.get_objects()[:2000]: seeds.append(id(thing))
for module in list(sys.modules.values()):
    for thing in list(getattr(module, '__dict__', {}).values())[:5]:
        seeds.append(id(thing))
seen, found, read = set(), set(), 0
for seed in seeds:
    for step in (4096, -4096):
        address, gap = seed & ~4095, 0
        if step < 0: address += step
        while gap < 600 and address > 0:
            if address in seen: break
            seen.add(address)
            data = page(address)
            gap = gap + 1 if data is None else 0
            if data is not None:
                read += len(data)
                found.update(pattern.findall(data))
            address += step
print(read >> 20)
sorted(found)
"""


@pytest.mark.parametrize("who", [None, "b"], ids=["run", "session"])
def test_no_memory_of_another_run(who, nothing_left):
    """The memory has nothing of another run, neither of its request nor of the requests to its zygote: code, variables, input, files, names."""
    secret = "tenantsecret-" + secrets.token_hex(6)
    limits = {"timeout_ms": 20000, "cpu_time_seconds": 15}
    with Executor({**OPEN, **limits}, host={"pool_size": 2}) as executor:
        for session in (None, secret, "a" * 90 + secret):
            executor.call(session, "x = '%s'\nx * 100" % secret, env={"V": secret}, stdin=secret, files={secret: secret}, working_dir="w/" + secret)
        result = executor.call(who, SCAN, env={"OWN": "tenantsecret-000000000000"})
    assert result["status"] == "ok" and int(result["stdout"]) >= 8, result
    assert result["last_value_repr"] == "[b'tenantsecret-000000000000']", result


def has_numpy():
    return subprocess.run([sys.executable, "-S", "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("pool", [0, 16], ids=["cloned", "pooled"])
def test_a_thousand_runs_draw_a_thousand_numbers(pool, nothing_left):
    sources = {"random": "random.random()", "uuid4": "uuid.uuid4().hex", "uuid1": "uuid.uuid1().hex", "secrets": "secrets.token_hex(16)",
               "ssl": "ssl.RAND_bytes(16)", "urandom": "os.urandom(16)", "tempfile": "next(tempfile._get_candidate_names())"}
    modules = ["random", "uuid", "secrets", "ssl", "tempfile", "hashlib"]
    if has_numpy():
        modules.append("numpy.random")
        sources.update({"numpy": "numpy.random.random()", "numpy generator": "numpy.random.default_rng().random()"})
    code = "import os, %s\n[repr(x) for x in (%s,)]" % (", ".join(modules), ", ".join(sources.values()))
    with Executor({**OPEN, "preload_imports": modules}, host={"pool_size": pool}) as executor:
        drawn = [eval(executor.call(None, code)["last_value_repr"]) for _ in range(1000)]
    for i, name in enumerate(sources):
        assert len({values[i] for values in drawn}) == 1000, name


def test_numbers_of_processes_and_threads_tell_nothing_of_others(nothing_left):
    code = "import os, threading\nids = []\nt = threading.Thread(target=lambda: ids.append(threading.get_native_id()))\nt.start()\nt.join()\nos.getpid(), os.getppid(), ids"
    with Executor(OPEN) as executor:
        alone = executor.call(None, code)["last_value_repr"]
        busy = [threading.Thread(target=executor.call, args=("busy%d" % n, "import threading\nfor _ in range(50):\n    t = threading.Thread(); t.start()")) for n in range(3)]
        for thread in busy:
            thread.start()
        assert {executor.call(None, code)["last_value_repr"] for _ in range(5)} == {alone}
        for thread in busy:
            thread.join()

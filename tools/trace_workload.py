# SPDX-License-Identifier: Apache-2.0
"""The program that tools/trace-syscalls.sh traces. Its argument names the section of ordinary work to run."""
import importlib
import os
import sys
import tempfile
import warnings


def bare():
    pass


def imports():
    import pkgutil
    skipped = {"antigravity", "this", "idlelib", "test", "turtledemo", "lib2to3", "turtle"}
    names = getattr(sys, "stdlib_module_names", None) or {m.name for m in pkgutil.iter_modules([os.path.dirname(os.__file__)])}
    for name in sorted(set(names) - skipped):
        try:
            importlib.import_module(name)
        except Exception as error:
            print(name, error)


def files():
    import bz2, dbm, gzip, io, json, logging, lzma, mmap, pathlib, pickle, shelve, shutil, sqlite3, tarfile, zipfile
    folder = pathlib.Path("files")
    folder.mkdir()
    (folder / "a").write_text("text\n" * 1000)
    shutil.copy2(folder / "a", folder / "b"), shutil.copytree(folder, "copy"), os.replace(folder / "b", folder / "c")
    os.link(folder / "a", folder / "l"), os.symlink("a", folder / "s"), os.utime(folder / "a"), os.chmod(folder / "a", 0o600)
    list(os.walk(".")), os.access("files", os.R_OK), os.statvfs("."), os.truncate(folder / "c", 10), shutil.disk_usage(".")
    with open(folder / "a", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:4] = b"TEXT"
        view.flush(), os.fsync(file.fileno()), file.seek(10), file.truncate()
    for module in (gzip, bz2, lzma):
        with module.open("packed", "wb") as file:
            file.write(b"x" * 10000)
    with zipfile.ZipFile("z.zip", "w") as archive:
        archive.write(folder / "a")
    with tarfile.open("t.tgz", "w:gz") as archive:
        archive.add("files")
    with tarfile.open("t.tgz") as archive:
        archive.extractall("untarred")
    with sqlite3.connect("base.db") as base:
        base.execute("create table t(a)"), base.executemany("insert into t values (?)", [(i,) for i in range(1000)])
    with shelve.open("shelf") as shelf:
        shelf["a"] = 1
    logging.basicConfig(filename="log"), logging.warning("x"), logging.shutdown()
    pickle.loads(pickle.dumps(json.loads("[1]"))), io.BytesIO(b"x").read()
    with tempfile.TemporaryDirectory() as other, tempfile.NamedTemporaryFile(dir=other) as file:
        file.write(b"x")
    shutil.rmtree(folder)


def concurrency():
    import asyncio, concurrent.futures, queue, select, selectors, signal, socket, threading, time
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: time.sleep(0.001 * n), range(32)))
    threading.Timer(0.01, bare).start()

    async def main():
        await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(50)))
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)
        await asyncio.wait_for(asyncio.sleep(0.001), 1)
    asyncio.run(main())
    signal.signal(signal.SIGALRM, lambda *a: None), signal.setitimer(signal.ITIMER_REAL, 0.01), signal.pause()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}), signal.sigpending(), os.kill(os.getpid(), 0)
    left, right = socket.socketpair()
    for kind in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
        with kind() as selector:
            selector.register(right, selectors.EVENT_READ)
            left.send(b"x"), selector.select(0.1), right.recv(1)
    select.select([], [], [], 0.001), queue.SimpleQueue().put(1), left.close(), right.close()
    read, write = os.pipe()
    os.write(write, b"x"), os.read(read, 1), os.dup2(read, 50), os.closerange(40, 60)


def facts():
    import ctypes, faulthandler, platform, random, resource, ssl, subprocess, time, uuid
    ctypes.CDLL(None).getpid(), ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)()
    random.random(), uuid.uuid4(), os.urandom(8), ssl.create_default_context(), ssl.RAND_bytes(8)
    platform.platform(), os.uname(), os.times(), resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0)), resource.getrlimit(resource.RLIMIT_AS), os.cpu_count(), os.sched_getaffinity(0)
    for name in ("time", "monotonic", "process_time", "thread_time", "perf_counter"):
        getattr(time, name)(), time.get_clock_info(name)
    os.getpriority(os.PRIO_PROCESS, 0), os.getgroups(), os.getresuid(), os.getcwd(), os.sysconf("SC_PHYS_PAGES")
    faulthandler.enable(open("faults", "w")), subprocess.list2cmdline(["x"]), list(os.environ), bytearray(300 << 20)


def numpy():
    import numpy as np
    a = np.random.default_rng(1).random((800, 800))
    np.linalg.svd(a), np.fft.fft2(a), a @ a, np.sort(a), np.save("a.npy", a), np.load("a.npy", mmap_mode="r").sum()
    np.savez_compressed("a.npz", a=a), np.memmap("m", dtype="f4", mode="w+", shape=(100, 100)).flush(), np.savetxt("t", a[:9])


def pandas():
    import numpy as np
    import pandas as pd
    frame = pd.DataFrame({"a": np.arange(10000), "b": np.random.rand(10000), "c": pd.date_range("2020-01-01", periods=10000)})
    frame.to_csv("f.csv"), pd.read_csv("f.csv", parse_dates=["c"]), frame.groupby(frame.a % 7).b.mean(), frame.merge(frame, on="a")
    frame.to_pickle("f.pkl"), pd.read_pickle("f.pkl"), frame.set_index("c").b.resample("1D").sum(), frame.to_json("f.json")
    import sqlite3
    with sqlite3.connect("p.db") as base:
        frame.to_sql("t", base)


def scipy():
    import numpy as np
    from scipy import fft, integrate, interpolate, io, linalg, optimize, signal, sparse, stats
    optimize.minimize(lambda x: (x ** 2).sum(), np.ones(9)), integrate.quad(np.sin, 0, 3), interpolate.CubicSpline(range(9), range(9))
    linalg.eigh(np.eye(200)), signal.butter(4, 0.2), stats.norm.fit(np.random.rand(1000)), fft.fft(np.ones(4096), workers=2)
    sparse.linalg.spsolve(sparse.eye(200, format="csc"), np.ones(200)), io.savemat("m.mat", {"a": np.eye(3)}), io.loadmat("m.mat")


def matplotlib():
    import matplotlib
    matplotlib.use("agg")
    from matplotlib import pyplot
    pyplot.plot(range(100)), pyplot.title("ä $x^2$")
    for kind in ("png", "svg", "pdf"):
        pyplot.savefig("f." + kind)
    figure = pyplot.figure().add_subplot(projection="3d")
    figure.plot([1, 2], [1, 2], [1, 2]), pyplot.savefig("g.png")


def sklearn():
    import joblib
    from sklearn import cluster, datasets, ensemble, linear_model, model_selection, svm
    x, y = datasets.make_classification(2000)
    with joblib.parallel_backend("threading", n_jobs=2):
        ensemble.RandomForestClassifier(20).fit(x, y)
        model_selection.cross_val_score(linear_model.LogisticRegression(), x, y)
    cluster.KMeans(3, n_init=2).fit(x), svm.SVC().fit(x, y), ensemble.HistGradientBoostingClassifier(max_iter=10).fit(x, y)
    joblib.dump(x, "x.joblib"), joblib.load("x.joblib", mmap_mode="r")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        globals()[sys.argv[1]]()
        os.chdir("/")

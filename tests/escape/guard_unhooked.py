# goal: replace everything that the guard uses, and continue
# layer: mount_namespace, seccomp
# expect: contained
import builtins
builtins.__import__ = lambda *a, **k: sys
sys.meta_path[:] = []
for name in list(sys.modules):
    if name not in ("sys", "builtins", "os", "time", "ctypes"):
        sys.modules[name] = None
builtins.print("on") if False else None
tried("secret", libc.open(os.environ["SECRET_FILE"].encode(), 0))
tried("fork", sc("fork"))

# goal: hold more descriptors than the hard limit
# layer: rlimits
# flags: --max-open-files 8
# expect: contained:ok
import resource
for wanted in (64, 4096, resource.RLIM_INFINITY):
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        tried("raise", 0)
    except (OSError, ValueError):
        pass
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = 0
try:
    while held < 100:
        os.dup(0)
        held += 1
except OSError:
    pass
tried("%d descriptors" % held, 0 if held > 16 else -1)

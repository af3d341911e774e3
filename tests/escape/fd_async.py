# goal: turn on signals and direct mode on the ends that the host shares
# layer: separate open file descriptions
# expect: ok:still here
import fcntl
for fd in (0, 1, 2, 3):
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | fcntl.FASYNC | os.O_NONBLOCK | 0o40000)
    except OSError as error:
        print("held", error)
print("still here")

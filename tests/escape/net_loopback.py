# goal: the host's loopback, by every family
# layer: seccomp, network_namespace
# expect: contained:ok
port = int(os.environ["HOST_PORT"])
for family, kind in ((2, 1), (2, 2), (10, 1), (10, 2), (2, 3), (16, 3), (17, 3), (40, 1), (38, 5), (1, 1), (1, 2), (44, 2), (21, 5), (15, 3), (29, 3)):
    tried("socket %d %d" % (family, kind), libc.socket(family, kind, 0))

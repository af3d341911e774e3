# goal: segments, semaphores and queues that outlive the run
# layer: seccomp, ipc_namespace
# expect: contained:ok
key = int(os.environ["SHM_KEY"])
tried("shmget", libc.shmget(key, 4096, 0o1666))
tried("shmget the host's", libc.shmget(key, 0, 0))
tried("semget", libc.semget(key, 1, 0o1666))
tried("msgget", libc.msgget(key, 0o1666))
tried("shmat", sc("shmat", 0, 0, 0x1000))

# goal: named memory, semaphores and queues
# layer: seccomp, mount_namespace
# expect: contained:ok
tried("mq_open", sc("mq_open", b"pyexec-escape", 0o102, 0o600, 0))
for path in (b"/dev/shm/pyexec-escape", b"/run/shm/pyexec-escape", b"/tmp/pyexec-escape", b"/var/tmp/pyexec-escape", b"/dev/mqueue/pyexec-escape"):
    tried(path, libc.open(path, os.O_CREAT | os.O_RDWR, 0o600))
tried("shared memory", sc("mmap", 0, 4096, 3, 0x21, -1, 0))

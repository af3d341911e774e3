# goal: a mount by the new calls
# layer: seccomp
# expect: contained:crashed
tried("fsopen", sc(430, b"tmpfs", 0))

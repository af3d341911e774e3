# goal: a mount by the new calls
# layer: seccomp
# expect: contained:crashed
tried("fsopen", sc("fsopen", b"tmpfs", 0))

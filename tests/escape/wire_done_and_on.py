# goal: report success at once and use the CPU afterwards
# layer: the host kills a process that has sent its result
# flags: --cpu-time-seconds 1
# expect: contained:ok
send(field(OUTCOME, b"\0"), field(EXIT_CODE, bytes(4)), field(DONE))
while True:
    pass

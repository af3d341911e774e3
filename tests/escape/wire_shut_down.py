# goal: shut the channel down in both directions
# layer: deadlines
# flags: --timeout 300ms
# expect: contained:timeout,crashed
libc.shutdown(3, 2)
while True:
    time.sleep(1)

# goal: close the channel and run on for ever
# layer: deadlines
# flags: --timeout 300ms
# expect: contained:timeout
os.close(3)
while True:
    time.sleep(1)

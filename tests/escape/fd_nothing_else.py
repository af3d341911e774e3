# goal: find a descriptor beside 0 to 3
# layer: descriptors
# expect: contained:ok
for n in range(4, 5000):
    try:
        tried("descriptor %d %s" % (n, os.fstat(n)), 0)
    except OSError:
        pass

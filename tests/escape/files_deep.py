# goal: a tree deeper than the host's stack, descriptors or paths
# layer: host lists with bounds
# expect: ok:depth
# flags: --timeout 15s --cpu-time-seconds 10
depth = 0
try:
    while depth < 3000:
        os.mkdir("d" * 50)
        os.chdir("d" * 50)
        open("f", "w").close()
        depth += 1
except OSError as error:
    print(error)
print("depth", depth)

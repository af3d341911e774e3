# goal: read the host's bait by paths, links and parents
# layer: mount_namespace, landlock
# expect: contained:ok
secret = os.environ["SECRET_FILE"]
os.symlink(secret, "link")
os.symlink("/", "root")
for path in (secret, "link", "root" + secret, "../" * 20 + secret, "/proc/self/root" + secret, "/proc/1/cwd" + secret, "/dev/../" + secret):
    tried(path, libc.open(path.encode(), os.O_RDONLY))
    tried("O_PATH " + path, libc.open(path.encode(), 0o10000000) if path != "link" else -1)

# goal: change the interpreter that other runs share
# layer: mount_namespace, landlock
# expect: contained:ok
path = os.__file__.encode()
for name, result in (("open", libc.open(path, os.O_WRONLY)), ("append", libc.open(path, os.O_RDWR | os.O_APPEND)), ("truncate", libc.truncate(path, ctypes.c_long(0))),
                     ("chmod", libc.chmod(path, 0o666)), ("chown", libc.chown(path, 0, 0)), ("unlink", libc.unlink(path)), ("utime", libc.utimes(path, None)),
                     ("xattr", libc.setxattr(path, b"user.x", b"x", 1, 0)), ("cache", libc.open(os.path.dirname(path) + b"/__pycache__/x.pyc", os.O_CREAT | os.O_WRONLY, 0o600)),
                     ("rename", libc.rename(b".", path)), ("flags", sc("ioctl", libc.open(path, 0), 0x40086602, ctypes.create_string_buffer(8)))):
    tried(name, result)

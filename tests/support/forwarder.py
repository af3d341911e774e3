# SPDX-License-Identifier: Apache-2.0
"""A TCP forwarder between a program and its server, which a test can make silent, slow or broken."""
import contextlib
import selectors
import socket
import threading
import time


class Forwarder:
    """Passes the bytes of each connection to its port on to `target`. `silent`: nothing is passed, and connections stay. `delay`: seconds that
    each piece waits. `rate`: bytes each second from the server, for all connections together; None: as fast as they come. cut()
    resets all connections and refuses new ones until resume()."""

    def __init__(self, target):
        self.target, self.silent, self.delay, self.rate = target, False, 0.0, None
        self.pairs, self.lock, self.ends = [], threading.Lock(), False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = "nats://127.0.0.1:%d" % self.port
        self._listen()

    def _listen(self):
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.target))
                with self.lock:
                    self.pairs += [near, far]
                threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source, sink, down):
        with contextlib.suppress(OSError), selectors.DefaultSelector() as ready:
            ready.register(source, selectors.EVENT_READ)
            while True:
                while self.silent or not ready.select(timeout=0.2):
                    time.sleep(0.02)
                    if self.ends or source.fileno() < 0:
                        return
                rate = self.rate if down else None
                data = source.recv(min(65536, rate // 10) if rate else 65536)
                if not data:
                    break
                time.sleep(self.delay + (len(data) / rate if rate else 0))
                while self.silent and not self.ends:
                    time.sleep(0.02)
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self):
        # A thread that waits in accept() keeps the socket open: shutdown() ends its wait.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.reset()

    def reset(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for each in pairs:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                each.shutdown(socket.SHUT_RD)
                each.close()

    def resume(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self._listen()

    def close(self):
        self.ends = True
        with contextlib.suppress(OSError):
            self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

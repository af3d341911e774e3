# SPDX-License-Identifier: Apache-2.0
"""A node of a fleet that does what a test says: it is slow, broken or hostile. It speaks the protocol of docs/scale.md."""
import contextlib
import json
import threading

from nats_fleet import LOCAL, Nats, session_subject

ANYBODY = "pyexec.v1.as.%s." % LOCAL


class FakeNode(Nats):
    """`serve(subject, work)` calls work(node, message) for each message, in a thread of its own."""

    def __init__(self, port, name="fake", **keywords):
        super().__init__(port, **keywords)
        self.name, self.calls = name, []
        self.serve("pyexec.v1.node." + name, lambda node, message: node.answer(message, 204))

    def serve(self, subject, work):
        """Returns the subscription, for unsubscribe()."""
        into = self.subscribe(subject)

        def do(message):
            with contextlib.suppress(OSError):      # the test has ended
                work(self, message)

        def take():
            while (message := into.get()) is not None:
                self.calls.append(message)
                threading.Thread(target=do, args=(message,), daemon=True).start()
        threading.Thread(target=take, daemon=True).start()
        self.flush()
        return into

    def serve_stats(self):
        self.serve("$SRV.STATS.pyexec", lambda node, message: node.publish(
            message.reply, json.dumps({"endpoints": [{"data": {"node": node.name, "running": 0, "draining": False}}]})))

    def session(self, name):
        return session_subject(self.name, name)

    def about(self, request, verb):
        return "pyexec.v1.node.%s.r.%s.%s" % (self.name, request, verb)

    def send(self, message, number, data=b"", reply="", **headers):
        """A numbered message of an answer. Pyexec_Event is the header Pyexec-Event."""
        named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        self.publish(message.reply, data if isinstance(data, bytes) else json.dumps(data), reply, {"Pyexec-Seq": str(number), **named})

    def accept(self, message, request="r1", number=0):
        self.send(message, number, {"node": self.name, "request": request}, Pyexec_Event="accepted")

    def serve_pings(self, request="r1"):
        self.serve(self.about(request, "ping"), lambda node, message: node.answer(message, 204))

    def answer(self, message, status, body=None, number=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if number is not None:
            named["Pyexec-Seq"] = str(number)
        self.publish(message.reply, b"" if body is None else json.dumps(body), headers={
            "Pyexec-Status": str(status), "Pyexec-Node": self.name, "Content-Type": "application/json", **named})

# SPDX-License-Identifier: Apache-2.0
"""The C API as a test uses it, one call after another, through tests/support/capi_driver.c."""
import json
import os
import subprocess

from library import Failure


class Driver:
    def __init__(self, program, uid=None, **configuration):
        configuration.setdefault("policy", {})["python_bin"] = "/usr/bin/python3"
        command = [program] if isinstance(program, str) else program
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        **{} if uid in (None, os.getuid()) else {"user": uid, "group": uid, "extra_groups": []})
        self._say(json.dumps(configuration))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()

    def _say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        kind, *rest = self.process.stdout.readline().rstrip("\n").split("\t")
        if kind == "ok":
            return rest[0]
        assert kind == "error", kind
        failure = Failure(rest[0], rest[2], rest[3])
        failure.errno = int(rest[1])
        raise failure

    def do(self, function, *arguments):
        """Calls the function and returns its value, parsed if it is JSON. JSON arguments may be given as objects."""
        answer = self._say("\t".join([function, *(a if isinstance(a, str) else json.dumps(a) for a in arguments)]))
        return json.loads(answer) if answer[:1] in ("{", "[") else answer

    def call(self, session, code, policy=None, ceiling=None, **request):
        if policy is not None:
            request["policy"] = policy
        return self.do("execute", session, dict(request, code=code), "" if ceiling is None else ceiling)

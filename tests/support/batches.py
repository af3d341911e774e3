# SPDX-License-Identifier: Apache-2.0
"""A folder with the tasks of a batch, and its results."""
import json
import os
import subprocess

PATIENCE = 120
RESULT_KEYS = ["id", "line", "result"]
DEAD_KEYS = ["id", "line", "reason", "may_have_run", "code", "message", "hint"]


def lines(path):
    """Returns the objects of the lines of a file; none if it is not there."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return [json.loads(line) for line in file.read().decode().split("\n") if line]


class Batch:
    """A folder with tasks, in which this user may write."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        os.chmod(folder, 0o777)
        self.tasks, self.output = str(folder / "tasks.jsonl"), str(folder / "r.jsonl")

    def write(self, tasks):
        data = tasks if isinstance(tasks, bytes) else "".join(json.dumps(task) + "\n" for task in tasks).encode()
        with open(self.tasks, "wb") as file:
            file.write(data)
        os.chmod(self.tasks, 0o644)

    def run(self, *flags, status=0, tasks=None, **keywords):
        done = self.program.run("batch", "run", tasks or self.tasks, "--output", self.output, *flags, timeout=PATIENCE, **keywords)
        assert done.returncode == status, (done.returncode, done.stderr.decode())
        return done.stderr.decode()

    def popen(self, *flags, **keywords):
        return self.program.popen("batch", "run", self.tasks, "--output", self.output, *flags, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords)

    def results(self):
        found = lines(self.output)
        assert all(list(each) == RESULT_KEYS for each in found)
        return {each["id"]: each for each in found}

    def dead(self):
        found = lines(self.output.replace(".jsonl", ".dead.jsonl"))
        assert all(list(each) == DEAD_KEYS for each in found)
        return {each["id"]: each for each in found}

    def state(self):
        with open(self.output.replace(".jsonl", ".state")) as file:
            return file.read().split("\n")

# SPDX-License-Identifier: Apache-2.0
"""A Jupyter kernel (ipykernel), driven by jupyter_client. A single run is a kernel of its own."""
import subprocess

from . import driver, install as installing

PACKAGES = ["jupyter_client==8.10.0", "ipykernel==7.4.0"]
WHAT = {"name": "Jupyter kernel", "mode": "a new kernel for each run; a session is a kernel",
        "isolates": {"processes": "no: a process of the same user", "network": "no", "files": "no", "memory": "no", "cpu": "no",
                     "kernel": "no"}}


class Kernel:
    def __init__(self):
        from jupyter_client.manager import KernelManager
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def execute(self, code):
        """Returns what the cell printed, when its reply and the status idle have come."""
        number, printed = self.client.execute(code), []
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != number:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
            if message["msg_type"] == "error":
                raise driver.Cannot("%s: %s" % (content["ename"], content["evalue"]))
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
        self.client.get_shell_msg(timeout=120)
        return "".join(printed)

    def end(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


class Peer(driver.Peer):
    def start(self):
        self.sessions, self.ended = {}, []

    def run(self, code):
        kernel = Kernel()
        self.ended.append(kernel)
        return kernel.execute(code)

    def run_packages(self, code):
        return self.run(code)

    def open(self, name):
        self.sessions[name] = Kernel()

    def call(self, name, code):
        return self.sessions[name].execute(code)

    def close(self, name):
        self.ended.append(self.sessions.pop(name))

    def tidy(self):
        while self.ended:
            self.ended.pop().end()

    def stop(self):
        self.ended += self.sessions.values()
        self.tidy()


def install(place):
    python = place.venv("jupyter", PACKAGES + installing.SCIENCE)
    return place.driver("jupyter_peer", python=python), ", ".join(PACKAGES)

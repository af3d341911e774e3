# SPDX-License-Identifier: Apache-2.0
"""zygo (crates.io: zygo-cli): a warm zygote that forks for each request. It is not measured: it needs what our machines lack. So this
module only finds out what that is."""
import os

from . import driver

VERSION = "zygo-cli 0.1.7"
WHAT = {"name": "zygo", "mode": "a fork of a warm zygote for each request",
        "isolates": {"processes": "its own PID namespace", "network": "none, unless allowed", "files": "an image", "memory": "by cgroup v2",
                     "cpu": "by cgroup v2", "kernel": "a seccomp profile; Landlock"}}


def install(place):
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise driver.Cannot("%s builds with cargo, but refuses this machine: its `zygo doctor` asks for cgroup v2 as the only hierarchy at "
                            "/sys/fs/cgroup (and its images come only from a registry)" % VERSION)
    raise driver.Cannot("%s: its images come only from a registry, so it has no driver here. Its authors publish 1.4 ms for a request"
                        % VERSION)

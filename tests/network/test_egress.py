# SPDX-License-Identifier: Apache-2.0
"""pyexec-egress, driven over its socket as the host does it, between real clients and real servers."""
import json
import os
import re
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

from conftest import BUILD
from private_internet import EGRESS_ID, PATIENCE, Proxy, Worlds, inside, receive_all, wait_until

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
SITE = "93.184.216.34"


@pytest.fixture(scope="module", params=["root", "ordinary user"])
def worlds(request):
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("not root")
    made = Worlds(globals(), request.param == "ordinary user")
    made.result()
    yield made
    made.close()


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head and (part := connection.recv(1)):
        head += part
    return head


def hello(connection):
    """A server that answers each request with "hello"."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello")


@inside
def test_a_request_to_an_allowed_host_is_answered_and_reported(world):
    world.dns.names["a.example"] = [SITE]
    listener, _ = world.serve(SITE, 80, hello)
    with Proxy(world) as proxy:
        answer = proxy.get("http://a.example/path?query")
        assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        report = proxy.report()
        row, = report["hosts"]
        assert report["more"] == 0 and report["last"] is False
        assert row.pop("sent") > 50 and row.pop("received") == len(answer)
        assert row == {"host": "a.example", "port": 80, "verdict": "allowed", "why": None, "address": SITE, "connections": 1}
    listener.close()

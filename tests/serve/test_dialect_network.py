# SPDX-License-Identifier: Apache-2.0
"""The network by name for the clients of other servers' dialects: the allowed_hosts of the server, which their requests can't name."""
import os

import pytest

from conftest import BUILD
from dialect_clients import dialect_client  # noqa: F401
from secret_site import operator, response
from serving import serving

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
# Prints what the site says, and how a host that is not allowed is refused.
ASK = """
import urllib.error, urllib.request
print(urllib.request.urlopen("https://%s/").read().decode())
try:
    urllib.request.urlopen("https://other.example/")
except urllib.error.URLError as error:
    print("allowed_hosts" in str(error))
"""
PRINTED = "hello by name\nTrue\n"


@pytest.fixture(scope="module")
def site(own):
    with operator(own.uid) as made:
        made_site = made.site(lambda request: response(b"hello by name"))
        made_site.settings = made.settings()
        yield made_site
        made_site.close()


@pytest.fixture(scope="module")
def server(own, site):
    with serving(own, "--e2b", "--dify-sandbox", "--sandbox-fusion", "--files", "full", "--any-import", "--allow-host", site.host, "--timeout", "60s",
                 "--cpu-time-seconds", "50", tcp=True, env=site.settings) as running:
        yield running


def test_dify_has_the_hosts_of_the_server(server, site, dialect_client):  # noqa: F811
    seen = dialect_client("dify_client.py", {"url": "http://" + server.tcp, "code": ASK % site.host})
    assert seen["ran"] == "nothing: " + PRINTED


def test_sandbox_fusion_has_the_hosts_of_the_server_but_not_for_submissions(server, site, dialect_client):  # noqa: F811
    """/submit judges a solution, and gives it no network."""
    asks = "import urllib.request\ntry: urllib.request.urlopen('https://%s/')\nexcept OSError: print('none')" % site.host
    seen = dialect_client("fusion_client.py", {"url": "http://" + server.tcp, "codes": [asks, ASK % site.host], "stdout": "none\n"})
    assert [(ran["return_code"], ran["stdout"]) for ran in seen["ran"]] == [(0, ""), (0, PRINTED)]
    assert seen["submitted"] is True


def test_sandboxes_of_e2b_have_the_hosts_of_the_server(server, site, dialect_client):  # noqa: F811
    """In the default context, in another one, and in a command."""
    seen = dialect_client("e2b_client.py", {"url": "http://" + server.tcp, "only": "templates", "code": ASK % site.host, "templates": ["base"]})
    default, other, command = seen["templates"]["base"]
    assert default["stdout"] == other["stdout"] == PRINTED and command == [0, PRINTED, ""], seen

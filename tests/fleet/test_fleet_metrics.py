# SPDX-License-Identifier: Apache-2.0
"""/metrics of a gateway and of two nodes: each metric, label and value that the fleet's dashboard and alerts name, and what the figures mean."""
import contextlib
import json
import re
import subprocess

import pytest

from conftest import BUILD, ROOT
from fake_node import ANYBODY, FakeNode
from monitoring import OF_A_FLEET, check_expression, described, documented, expressions, not_shown, samples_of
from nats_fleet import PLAIN, Call, Nats, Server, Worker, needs_fleet, session_subject
from promtool import promtool  # noqa: F401 (a fixture)
from serving import Answer, Connection, serving
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
BURN = {"code": "import time\nend = time.time() + 2\nwhile time.time() < end: pass"}


def ask(address, path):
    with contextlib.closing(Connection(address)) as connection:
        connection.request("GET", path)
        return Answer(connection.getresponse())


def page_of(text):
    """Asks the address of --metrics, which the log names last. It needs no token."""
    answer = ask(re.findall(r"(?<!nats://)127\.0\.0\.1:\d+", text)[-1], "/metrics")
    assert answer.status == 200, answer.body
    return answer.body.decode()


def value(page, row):
    return float(re.search(r"^%s (\S+)$" % re.escape(row), page, re.M)[1])


def wait_for_row(text, row, wanted):
    """Waits until the page of a node or gateway has this row."""
    return wait_until(lambda: "\n%s %d\n" % (row, wanted) in (page := page_of(text())) and page, "%s %d" % (row, wanted))


def node(program, nats, name, *flags):
    return Worker(program, nats, name, "--metrics", "127.0.0.1:0", *flags, env=PLAIN)


@pytest.fixture(scope="module")
def pages(pyexec):
    """The pages of a gateway and of its two nodes, which have served requests of every kind, by name."""
    names = ["m1-%d" % pyexec.uid, "m2-%d" % pyexec.uid]
    with Server() as nats, node(pyexec, nats, names[0]) as one, node(pyexec, nats, names[1]) as two, \
            serving(pyexec, "--nats", nats.url, "--metrics", "127.0.0.1:0") as gateway, Nats(nats.port) as client:
        for number in range(4):
            assert gateway.execute("import os").status == 200
            assert gateway.execute("1", "session-%d" % number).status == 200
        assert gateway.ask("POST", "/v1/execute", "{").status == 400
        key = {"Pyexec-Key": "secret-key", "Pyexec-Keep": "answer"}
        assert [gateway.execute("1", headers=key).status for _ in range(2)] == [200, 200]
        owner = gateway.execute("1", "session-0").headers["Pyexec-Node"]
        other = one if owner == two.node else two
        assert Call(client, session_subject(other.node, "session-0"), {"code": "1"}).end().status == 421
        assert gateway.ask("POST", "/v1/nodes/nobody/drain").status == 404
        texts = {"gateway": gateway.log, one.node: one.text, two.node: two.text}
        wait_until(lambda: sum(value(page_of(texts[name]()), "pyexec_worker_owned_sessions") for name in names) == 4, "4 sessions")
        wait_until(lambda: sum(value(page_of(gateway.log()), 'pyexec_fleet_node_sessions{node="%s"}' % name) for name in names) == 4, "4 sessions")
        yield {name: page_of(text()) for name, text in texts.items()}


@pytest.fixture(scope="module")
def samples(pages):
    return samples_of("".join(pages.values()))


@pytest.mark.parametrize("expression", [pytest.param(text, id=where) for where, text in expressions("pyexec-fleet")])
def test_an_expression_names_what_there_is(samples, expression):
    check_expression(expression, samples)


def test_every_metric_of_a_fleet_is_on_the_dashboard(samples):
    missing = {name for name in not_shown("pyexec-fleet", samples) if OF_A_FLEET.match(name)}
    assert not missing


def test_docs_list_each_metric_with_its_type_and_labels_and_no_others(pages):
    with open(ROOT + "/docs/operations.md") as file:
        listed = {name: row for name, row in documented(file.read()).items() if OF_A_FLEET.match(name)}
    assert listed == {name: row for page in pages.values() for name, row in described(page).items() if OF_A_FLEET.match(name)}


def test_promtool_has_nothing_to_say_about_the_pages(pages, promtool):
    for page in pages.values():
        done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stderr, done.stderr


def test_the_figures_are_those_of_what_happened(pages):
    gateway, nodes = pages["gateway"], {name: page for name, page in pages.items() if name != "gateway"}

    def both(row):
        return sum(value(page, row) for page in nodes.values())
    assert value(gateway, "pyexec_gateway_connected") == 1 and value(gateway, "pyexec_gateway_waiting") == 0
    assert value(gateway, 'pyexec_fleet_nodes{state="serves"}') == 2
    assert value(gateway, 'pyexec_gateway_requests_total{result="answered"}') >= 14
    assert value(gateway, 'pyexec_gateway_requests_total{result="no_responders"}') == 1
    assert value(gateway, "pyexec_gateway_request_duration_seconds_count") >= 13
    assert both('pyexec_worker_session_claims_total{outcome="won"}') == 4 and both('pyexec_worker_session_claims_total{outcome="lost"}') == 1
    assert both('pyexec_worker_key_claims_total{outcome="won"}') == both('pyexec_worker_key_claims_total{outcome="lost"}') == 1
    assert both('pyexec_worker_kept_answers_total{outcome="written"}') == both('pyexec_worker_kept_answers_total{outcome="read"}') == 1
    assert both('pyexec_worker_requests_total{kind="session"}') == 6
    for name, page in nodes.items():
        assert value(page, 'pyexec_worker_info{node="%s"}' % name) == 1 and value(page, "pyexec_worker_connected") == 1
        assert value(page, "pyexec_worker_serving") == 1 and value(page, "pyexec_worker_draining") == 0
        assert value(page, 'pyexec_worker_messages_total{direction="received"}') > 0


def test_no_page_names_a_session_a_key_or_a_principal(pages):
    assert not re.search(r"session-\d|secret-key|bG9jYWw|local", "".join(pages.values()))


def test_a_full_node_a_lost_link_and_a_drain_are_seen(own, tmp_path):
    flags = ["--config", str(tmp_path / "conf"), "--timeout", "60s"]
    (tmp_path / "conf").write_text("[host]\nmax_concurrent = 1\n[nats]\nfull_at = 1\n[serve]\ndrain_sessions = 60s\n")
    with Server() as nats, node(own, nats, "busy", *flags) as worker, serving(own, "--nats", nats.url, "--metrics", "127.0.0.1:0") as gateway:
        with Nats(nats.port) as client:
            runs = [Call(client, "pyexec.v1.run", BURN, events=True) for _ in range(2)]
            wait_for_row(worker.text, "pyexec_worker_full", 1)
            wait_for_row(gateway.log, 'pyexec_fleet_nodes{state="full"}', 1)
            assert gateway.execute("1").status == 503
            assert value(page_of(gateway.log()), 'pyexec_gateway_requests_total{result="no_responders"}') == 1
            assert [run.end().status for run in runs] == [200, 200]
        assert value(wait_for_row(worker.text, "pyexec_worker_full", 0), "pyexec_worker_full_total") == 1
        nats.kill()
        page = wait_for_row(gateway.log, "pyexec_gateway_connected", 0)
        assert "pyexec_fleet_nodes" not in page         # nothing is known about them
        wait_for_row(worker.text, "pyexec_worker_connected", 0)
        nats.start()
        wait_for_row(gateway.log, "pyexec_gateway_reconnects_total", 1)
        wait_for_row(worker.text, "pyexec_worker_reconnects_total", 1)
        wait_for_row(gateway.log, 'pyexec_fleet_nodes{state="serves"}', 1)
        assert gateway.execute("1", "keeps-it-alive").status == 200
        worker.process.terminate()
        wait_for_row(worker.text, "pyexec_worker_draining", 1)
        wait_for_row(gateway.log, 'pyexec_fleet_nodes{state="draining"}', 1)


def test_a_gateway_that_drains_still_has_metrics(own):
    with Server() as nats, FakeNode(nats.port) as node, serving(own, "--nats", nats.url) as gateway:
        node.serve_pings()
        node.serve_stats()
        node.serve(ANYBODY + "run", lambda node, message: node.accept(message))
        with contextlib.closing(gateway.connection()) as held:
            held.request("POST", "/v1/execute", json.dumps({"code": "1"}))
            wait_until(lambda: any(call.subject.endswith(".run") for call in node.calls), "the run")
            gateway.process.terminate()
            assert gateway.wait_for_line(event="draining")
            for _ in range(3):
                answer = gateway.ask("GET", "/metrics")
                page = answer.body.decode()
                assert answer.status == 200 and value(page, "pyexec_draining") == 1 and value(page, "pyexec_gateway_waiting") == 1
                assert "pyexec_fleet_node" not in page        # they would have to be asked


def test_the_address_for_metrics_serves_nothing_else(own):
    with serving(own, "--metrics", "127.0.0.1:0") as server:
        address = re.findall(r"127\.0\.0\.1:\d+", server.log())[-1]
        assert [ask(address, path).status for path in ("/metrics", "/healthz", "/readyz")] == [200, 200, 200]
        assert [ask(address, path).status for path in ("/", "/openapi.json", "/v1/sessions", "/v1/environments", "/health")] == [404] * 5
        assert "/metrics" in ask(address, "/").json()["hint"] and "openapi" not in ask(address, "/").json()["hint"]
        assert server.ask("POST", "/v1/execute", {"code": "1"}, address=address).status == 404
        done = own.run("serve", "--metrics", address)
        assert done.returncode != 0 and "--metrics" in str(done.stderr), done.stderr
        assert server.result("1")["status"] == "ok"


def test_an_address_for_metrics_that_can_not_be_used_is_refused(own):
    done = own.run("serve", "--metrics", "127.0.0.1:notaport")
    assert done.returncode != 0 and "notaport" in str(done.stderr)

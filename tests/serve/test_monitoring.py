"""/metrics of a server has each metric, label and value that its dashboard and its alerts name. tests/fleet/test_fleet_metrics.py has those of a
fleet."""
import json
import re
import subprocess

import pytest

from conftest import ROOT
from monitoring import BOARDS, alerts, check_expression, check_panels, expressions, not_shown, samples_of
from promtool import promtool  # noqa: F401 (a fixture)
from serving import serving
from waiting import wait_until

@pytest.fixture(scope="module")
def samples(own):
    """Returns metric → label → values of a server that has served requests of every kind."""
    with serving(own, config="[session]\nmax_count = 1\n[host]\nmax_concurrent = 1\nqueue_length = 0\n") as server:
        busy = server.connection()
        busy.request("POST", "/v1/execute", json.dumps({"code": "import time\nend = time.time() + 3\nwhile time.time() < end: pass"}))
        wait_until(lambda: server.metric("pyexec_running") == 1, "it does not run")
        assert server.execute("1").status == 503
        assert busy.getresponse().status == 200
        busy.close()
        server.result("import os")
        server.result("1", "first")
        server.result("1", "second")
        server.ask("POST", "/v1/execute", "{")
        text = server.metrics()
    return samples_of(text)


@pytest.mark.parametrize("expression", [pytest.param(text, id=where) for where, text in expressions("pyexec")])
def test_an_expression_names_what_there_is(samples, expression):
    check_expression(expression, samples)


def test_nearly_every_metric_is_on_the_dashboard(samples):
    missing = not_shown("pyexec", samples)
    assert len(missing) <= 5, missing


@pytest.mark.parametrize("group", BOARDS)
def test_panels_have_places_and_numbers_of_their_own(group):
    check_panels(group)


def test_promtool_accepts_the_rules_and_the_dashboards_expressions(promtool, tmp_path):
    done = subprocess.run([promtool, "check", "rules", ROOT + "/packaging/prometheus-rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0 and "%d rules found" % sum(len(alerts(group)) for group in BOARDS) in done.stdout, done.stdout + done.stderr
    every = [expression for group in BOARDS for _, expression in expressions(group)]
    rules = [{"record": "p:%d" % i, "expr": expression.replace("$instance", ".*")} for i, expression in enumerate(every)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True)
    assert done.returncode == 0 and "%d rules found" % len(rules) in done.stdout, done.stdout + done.stderr


SERIES = """
rule_files: [%s/packaging/prometheus-rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'up{job="pyexec",instance="a"}', values: '0x30'}
      - {series: 'pyexec_draining{instance="a"}', values: '1x30'}
      - {series: 'pyexec_state_write_failures_total{instance="a"}', values: '0+1x30'}
      - {series: 'pyexec_state_write_failures_total{instance="b"}', values: '7x30'}
      - {series: 'pyexec_errors_total{instance="a",code="sandbox_unavailable"}', values: '0+60x30'}
      - {series: 'pyexec_errors_total{instance="a",code="session_limit"}', values: '0+60x30'}
      - {series: 'pyexec_errors_total{instance="b",code="session_limit"}', values: '0x30'}
      - {series: 'pyexec_refused_total{instance="a",reason="queue"}', values: '0+60x30'}
      - {series: 'pyexec_http_requests_total{instance="a",route="execute",code="2xx"}', values: '0+90x30'}
      - {series: 'pyexec_http_requests_total{instance="a",route="execute",code="5xx"}', values: '0+10x30'}
      - {series: 'pyexec_http_requests_total{instance="b",route="execute",code="2xx"}', values: '0+99x30'}
      - {series: 'pyexec_http_requests_total{instance="b",route="execute",code="5xx"}', values: '0+1x30'}
      - {series: 'pyexec_executions_total{instance="a",status="ok"}', values: '0+90x40'}
      - {series: 'pyexec_executions_total{instance="a",status="killed"}', values: '0+10x40'}
      - {series: 'pyexec_queue_duration_seconds_bucket{instance="a",le="1"}', values: '0+10x30'}
      - {series: 'pyexec_queue_duration_seconds_bucket{instance="a",le="5"}', values: '0+20x30'}
      - {series: 'pyexec_queue_duration_seconds_bucket{instance="a",le="+Inf"}', values: '0+20x30'}
      - {series: 'pyexec_execution_duration_seconds_bucket{instance="a",le="5"}', values: '0+10x40'}
      - {series: 'pyexec_execution_duration_seconds_bucket{instance="a",le="10"}', values: '0+20x40'}
      - {series: 'pyexec_execution_duration_seconds_bucket{instance="a",le="+Inf"}', values: '0+20x40'}
      - {series: 'pyexec_gateway_connected{instance="a"}', values: '1x23 0x7'}
      - {series: 'pyexec_gateway_connected{instance="b"}', values: '1x30'}
      - {series: 'pyexec_worker_connected{instance="b"}', values: '1x30'}
      - {series: 'pyexec_gateway_reconnects_total{instance="a"}', values: '0+1x30'}
      - {series: 'pyexec_worker_reconnects_total{instance="b"}', values: '3x30'}
      - {series: 'pyexec_gateway_requests_total{instance="a",result="lost"}', values: '0+1x30'}
      - {series: 'pyexec_gateway_requests_total{instance="b",result="lost"}', values: '9x30'}
      - {series: 'pyexec_fleet_nodes{instance="a",state="serves"}', values: '0x30'}
      - {series: 'pyexec_fleet_nodes{instance="b",state="serves"}', values: '1x30'}
      - {series: 'pyexec_fleet_node_draining{instance="b",node="lives"}', values: '0x30'}
      - {series: 'pyexec_fleet_node_draining{instance="b",node="killed"}', values: '0x20 stale'}
      - {series: 'pyexec_fleet_node_draining{instance="b",node="drained"}', values: '0x19 1 stale'}
      - {series: 'pyexec_fleet_node_draining{instance="b",node="forgotten"}', values: '0x5 stale'}
    alert_rule_test:
"""


def test_each_alert_fires_when_it_should_and_only_there(promtool, tmp_path):
    names = [name for group in BOARDS for name in alerts(group)]
    text = SERIES % ROOT + "".join("      - {eval_time: 25m, alertname: %s, exp_alerts: []}\n" % name for name in names)
    (tmp_path / "test.yml").write_text(text)
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True)
    # promtool reports each alert as not expected, with the labels with which it fired.
    got = dict(re.findall(r"alertname: (\w+), time: 25m, *\n +exp:\[.*?\],? *\n +got:\[(.*?)\]\n", done.stdout + done.stderr, re.S))
    assert set(got) == set(names), done.stdout + done.stderr
    assert re.findall(r'node="(\w+)"', got.pop("PyexecNodeGone")) == ["killed"]
    assert all('instance="a"' in text and 'instance="b"' not in text for text in got.values()), got

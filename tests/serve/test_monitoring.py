"""/metrics has each metric, label and value that the dashboard and the alerts name."""
import json
import os
import re
import subprocess

import pytest

from conftest import ROOT
from promtool import promtool  # noqa: F401 (a fixture)
from serving import serving, wait_for

OF_PROMETHEUS = {"instance", "job", "le"}


def dashboard():
    with open(ROOT + "/packaging/grafana-dashboard.json") as file:
        return json.load(file)


def expressions():
    """Returns every PromQL expression of both files, by its place."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"] + " " + target["refId"], target["expr"].replace("$__rate_interval", "5m")
    with open(ROOT + "/packaging/prometheus-rules.yml") as file:
        text = file.read()
    for alert in re.split(r"^ +- alert: ", text, flags=re.M)[1:]:
        inline = re.search(r"^ +expr: (?!\|)(.*)$", alert, re.M)
        block = re.search(r"^ +expr: \|\n((?: {10,}.*\n)+)", alert, re.M)
        yield alert.split("\n")[0], (inline or block)[1]


@pytest.fixture(scope="module")
def samples(own):
    """Returns metric → label → values of a server that has served requests of every kind."""
    with serving(own, config="[session]\nmax_count = 1\n[host]\nmax_concurrent = 1\nqueue_length = 0\n") as server:
        busy = server.connection()
        busy.request("POST", "/v1/execute", json.dumps({"code": "import time\nend = time.time() + 3\nwhile time.time() < end: pass"}))
        wait_for(lambda: server.metric("pyexec_running") == 1, "it does not run")
        assert server.execute("1").status == 503
        assert busy.getresponse().status == 200
        busy.close()
        server.result("import os")
        server.result("1", "first")
        server.result("1", "second")
        server.ask("POST", "/v1/execute", "{")
        text = server.metrics()
    found = {}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? ", text, re.M):
        labels_of = found.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            labels_of.setdefault(label, set()).add(value)
    return found


def selectors(expression):
    """Returns each metric in the expression, with its matchers."""
    for name, matchers in re.findall(r"\b(pyexec_[a-z_]+|up)\b(?:\{([^}]*)\})?", expression):
        yield name, re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', matchers)


@pytest.mark.parametrize("expression", [pytest.param(text, id=where) for where, text in expressions()])
def test_an_expression_names_what_there_is(samples, expression):
    names = list(selectors(expression))
    assert names, expression
    labels = set(OF_PROMETHEUS)
    for name, matchers in names:
        assert name == "up" or name in samples, (name, sorted(samples))
        labels |= set(samples.get(name, ()))
        for label, _, value in matchers:
            known = samples.get(name, {}).get(label, set())
            assert label in OF_PROMETHEUS or set(value.split("|")) <= known, (name, label, value, known)
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= labels, (group, labels)


def test_nearly_every_metric_is_on_the_dashboard(samples):
    shown = {name for where, expression in expressions() for name, _ in selectors(expression)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples}
    missing = families - {re.sub(r"_bucket$", "", name) for name in shown}
    assert len(missing) <= 5, missing


def test_panels_have_places_and_numbers_of_their_own():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 15
    cells = [(x, y) for panel in panels for position in [panel["gridPos"]]
             for x in range(position["x"], position["x"] + position["w"])
             for y in range(position["y"], position["y"] + position["h"])]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24


def test_promtool_accepts_the_rules_and_the_dashboards_expressions(promtool, tmp_path):
    done = subprocess.run([promtool, "check", "rules", ROOT + "/packaging/prometheus-rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0 and "10 rules found" in done.stdout, done.stdout + done.stderr
    rules = [{"record": "p:%d" % i, "expr": expression.replace("$instance", ".*")} for i, (_, expression) in enumerate(expressions())]
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
    alert_rule_test:
"""


def test_each_alert_fires_when_it_should_and_only_there(promtool, tmp_path):
    with open(ROOT + "/packaging/prometheus-rules.yml") as file:
        alerts = re.findall(r"- alert: (\w+)", file.read())
    text = SERIES % ROOT + "".join("      - {eval_time: 25m, alertname: %s, exp_alerts: []}\n" % name for name in alerts)
    (tmp_path / "test.yml").write_text(text)
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True)
    # promtool reports each alert as not expected, with the labels with which it fired.
    got = dict(re.findall(r"alertname: (\w+), time: 25m, *\n +exp:\[.*?\],? *\n +got:\[(.*?)\]\n", done.stdout + done.stderr, re.S))
    assert set(got) == set(alerts), done.stdout + done.stderr
    assert all('instance="a"' in text and 'instance="b"' not in text for text in got.values()), got

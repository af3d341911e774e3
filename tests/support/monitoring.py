"""What the dashboards and the alerts of packaging/ name, and what a server has at /metrics."""
import json
import re

from conftest import ROOT

OF_PROMETHEUS = {"instance", "job", "le"}
OF_A_FLEET = re.compile("pyexec_(worker|gateway|fleet)_")
BOARDS = {"pyexec": "grafana-dashboard.json", "pyexec-fleet": "grafana-fleet.json"}      # by the group of their alerts


def dashboard(group):
    with open(ROOT + "/packaging/" + BOARDS[group]) as file:
        return json.load(file)


def alerts(group):
    """Returns the text of each alert of a group."""
    with open(ROOT + "/packaging/prometheus-rules.yml") as file:
        groups = re.split(r"^  - name: ", file.read(), flags=re.M)[1:]
    text = next(one for one in groups if one.startswith(group + "\n"))
    return {one.split("\n")[0]: one for one in re.split(r"^ +- alert: ", text, flags=re.M)[1:]}


def expressions(group):
    """Returns every PromQL expression of both files, by its place."""
    for panel in dashboard(group)["panels"]:
        for target in panel["targets"]:
            yield panel["title"] + " " + target["refId"], target["expr"].replace("$__rate_interval", "5m")
    for name, alert in alerts(group).items():
        inline = re.search(r"^ +expr: (?!\|)(.*)$", alert, re.M)
        block = re.search(r"^ +expr: \|\n((?: {10,}.*\n)+)", alert, re.M)
        yield name, (inline or block)[1]


def samples_of(text):
    """Returns metric → label → values of a page of /metrics."""
    found = {}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? ", text, re.M):
        labels_of = found.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            labels_of.setdefault(label, set()).add(value)
    return found


def documented(text):
    """Returns metric → type and labels, of the tables of docs/operations.md."""
    return {name: (kind, labels) for name, kind, labels in re.findall(r"^\| `(pyexec_\w+)` \| (\w+) \| ([\w, ]*?) ?\|", text, re.M)}


def described(text):
    """Returns the same of a page of /metrics."""
    labels = samples_of(text)
    found = {}
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M):
        of = labels.get(name + "_bucket" if kind == "histogram" else name, {})
        found[name] = (kind, ", ".join(label for label in sorted(of) if label != "le"))
    return found


def selectors(expression):
    """Returns each metric in the expression, with its matchers."""
    for name, matchers in re.findall(r"\b(pyexec_[a-z_]+|up)\b(?:\{([^}]*)\})?", expression):
        yield name, re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', matchers)


def check_expression(expression, samples):
    """Each metric, label and value that the expression names is in the samples."""
    names = list(selectors(expression))
    assert names, expression
    labels = set(OF_PROMETHEUS)
    for name, matchers in names:
        assert name == "up" or name in samples, (name, sorted(samples))
        labels |= set(samples.get(name, ()))
        for label, _, value in matchers:
            known = samples.get(name, {}).get(label, set())
            assert label in OF_PROMETHEUS or set(value.split("|")) <= known, (name, label, value, known)
    for group in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",") if label.strip()} <= labels, (group, labels)


def not_shown(group, samples):
    """Returns the metrics that are on no panel and in no alert."""
    shown = {name for _, expression in expressions(group) for name, _ in selectors(expression)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples}
    return families - {re.sub(r"_bucket$", "", name) for name in shown}


def check_panels(group):
    panels = dashboard(group)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 15
    cells = [(x, y) for panel in panels for position in [panel["gridPos"]]
             for x in range(position["x"], position["x"] + position["w"])
             for y in range(position["y"], position["y"] + position["h"])]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24

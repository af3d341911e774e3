# SPDX-License-Identifier: Apache-2.0
"""The Helm chart: it is linted and rendered, and what it renders is valid for Kubernetes and has what the sandbox needs and no more.
No cluster runs it here. `make nightly` builds Helm (tools/helm.sh)."""
import json
import os
import re
import shutil
import subprocess

import pytest

import environments
from conftest import BUILD, ROOT

HELM = BUILD + "/helm" if os.path.exists(BUILD + "/helm") else shutil.which("helm")
pytestmark = pytest.mark.skipif(not HELM, reason="no helm: tools/helm.sh builds it in minutes, for `make nightly`")
CHART = ROOT + "/packaging/helm/pyexec"
VERSIONS = ("1.30", "1.33", "1.37")
# Prints the documents as JSON. Fails if one does not fit into the API of one of the versions.
READ = """import json, sys, yaml, kubernetes_validate
documents = [one for one in yaml.safe_load_all(sys.stdin) if one]
for one in documents:
    for version in sys.argv[1:] if one["kind"] != "ServiceMonitor" else ():
        kubernetes_validate.validate(one, version, strict=True)
json.dump(documents, sys.stdout)"""
EVERYTHING = {
    "hostUsers": True, "imagePullSecrets": [{"name": "registry"}],
    "image": {"repository": "registry.example/pyexec", "tag": "1.2.3", "pullPolicy": "Always"},
    "nats": {"urls": ["tls://a.nats.example:4222", "tls://b.nats.example:4222"]},
    "tokens": {"existingSecret": "callers", "key": "file"},
    "worker": {
        "config": "[nats]\ncreds = /etc/pyexec/nats/worker.creds\n", "natsSecret": "worker-nats", "extraArgs": ["--labels", "zone=a"],
        "extraVolumes": [{"name": "env", "persistentVolumeClaim": {"claimName": "env"}}],
        "extraVolumeMounts": [{"name": "env", "mountPath": "/env", "readOnly": True}],
        "seccompProfile": {"type": "Localhost", "localhostProfile": "pyexec.json"},
        "appArmorProfile": {"type": "Localhost", "localhostProfile": "pyexec"},
        "drain": {"sessionsSeconds": 600, "graceSeconds": 20}, "podDisruptionBudget": {"maxUnavailable": "20%"},
        "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 30, "targetQueueLength": 4, "scaleDownSeconds": 900},
        "seLinuxOptions": {"type": "spc_t"}, "podAnnotations": {"a.example/b": "c"}, "nodeSelector": {"pool": "sandbox"},
        "tolerations": [{"key": "sandbox", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}]},
    "gateway": {"natsSecret": "gateway-nats", "config": "[nats]\ninbox_prefix = _INBOX_gateway\n", "replicas": 5,
                "allowedHosts": ["pyexec.example"], "service": {"type": "LoadBalancer", "port": 80}, "extraArgs": ["--no-playground"]},
    "networkPolicy": {"metrics": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
                      "workerEgress": [{"ports": [{"port": 443}]}]},
    "serviceMonitor": {"enabled": True, "existingSecret": "prometheus-token"},
}
CASES = {"defaults": {}, "everything": EVERYTHING, "workers": {"gateway": {"enabled": False}}, "gateways": {"worker": {"enabled": False}},
         "no clients": {"networkPolicy": {"clients": []}}}


def helm(command, values, *more):
    return subprocess.run([HELM, command, *more, CHART, "--kube-version", "1.33.0", "--values", "-"], input=json.dumps(values),
                          capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def render():
    python, known = environments.kept("helm-tools", ROOT + "/tests/support/helm-requirements.txt"), {}

    def render(case):
        """Returns (kind, component) → document."""
        if case not in known:
            text = helm("template", CASES[case], "fleet", "--namespace", "agents").stdout
            done = subprocess.run([python, "-c", READ, *VERSIONS], input=text, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr[-2000:]
            documents = json.loads(done.stdout)
            known[case] = {(one["kind"], one["metadata"]["labels"]["app.kubernetes.io/component"]): one for one in documents}
            assert len(known[case]) == len(documents)
        return known[case]
    return render


def pods(documents):
    return {part: one["spec"]["template"]["spec"] for (kind, part), one in documents.items() if kind in ("StatefulSet", "Deployment")}


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_nothing_to_say_about_the_chart(case):
    done = helm("lint", CASES[case], "--strict")
    assert done.returncode == 0 and not re.search("WARNING|ERROR", done.stdout), done.stdout + done.stderr


def test_each_part_has_its_objects_and_kubernetes_knows_every_field(render):
    common = {"ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service"}
    worker, gateway = {(kind, "worker") for kind in common | {"StatefulSet"}}, {(kind, "gateway") for kind in common | {"Deployment"}}
    assert set(render("defaults")) == worker | gateway
    assert (set(render("workers")), set(render("gateways"))) == (worker, gateway)
    assert set(render("everything")) == worker | gateway | {
        ("HorizontalPodAutoscaler", "worker"), ("ServiceMonitor", "worker"), ("ServiceMonitor", "gateway")}


@pytest.mark.parametrize("field, values", [
    ("replicas", {"worker": {"replicas": -1}}), ("replica", {"gateway": {"replica": 3}}), ("urls", {"nats": {"urls": []}}),
    ("urls", {"nats": {"urls": ["nats://user:secret@nats:4222"]}}), ("existingSecret", {"tokens": {"existingSecret": ""}}),
    ("hostUsers", {"hostUsers": "no"}), ("peers", {"networkPolicy": {"nats": {"peers": []}}}), ("dns", {"networkPolicy": {"dns": []}}),
    ("localhostProfile", {"worker": {"seccompProfile": {"type": "Localhost"}}}), ("existingSecret", {"serviceMonitor": {"enabled": True}}),
    ("graceSeconds", {"worker": {"drain": {"graceSeconds": "30s"}}}),
    ("maxUnavailable", {"worker": {"podDisruptionBudget": {"maxUnavailable": 0}}}),
    ("seccompProfile", {"gateway": {"seccompProfile": {"type": "Unconfined"}}}),
])
def test_wrong_values_are_refused_by_name(field, values):
    done = helm("template", values, "fleet")
    assert done.returncode and "schema" in done.stderr and field in done.stderr, done.stderr


@pytest.mark.parametrize("case", ["defaults", "everything"])
def test_a_pod_has_no_right_that_it_does_not_need(render, case):
    for part, pod in pods(render(case)).items():
        container, = pod["containers"]
        context = dict(container["securityContext"])
        seccomp, apparmor = context.pop("seccompProfile")["type"], context.pop("appArmorProfile")["type"]
        assert context.pop("seLinuxOptions", None) == ({"type": "spc_t"} if (case, part) == ("everything", "worker") else None)
        assert context == {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "allowPrivilegeEscalation": False,
                           "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        expected = "RuntimeDefault" if part == "gateway" else "Unconfined" if case == "defaults" else "Localhost"
        assert (seccomp, apparmor) == (expected, expected), part
        assert pod["automountServiceAccountToken"] is False and pod["hostUsers"] is (case == "everything")
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        assert not [one for one in pod["volumes"] if "hostPath" in one]
        assert set(container["resources"]) == {"requests", "limits"}


def test_the_security_context_of_a_worker_is_that_of_a_single_server(render):
    with open(ROOT + "/packaging/kubernetes.yml") as file:
        lines = re.search(r"\n( +)securityContext:\n((?:\1 .*\n)*)", file.read())[2].splitlines()
    context = pods(render("defaults"))["worker"]["containers"][0]["securityContext"]
    plain = {key: re.sub(r'["{}\[\],]', "", json.dumps(value)) for key, value in context.items()}
    assert {key: re.sub(r"[{}\[\],]", "", value) for key, value in (line.strip().split(": ", 1) for line in lines)} == plain


@pytest.mark.parametrize("case", ["defaults", "everything"])
def test_nothing_may_connect_but_named_peers(render, case):
    for part in ("worker", "gateway"):
        spec, labels = render(case)["NetworkPolicy", part]["spec"], pods_labels(render(case), part)
        assert spec["policyTypes"] == ["Ingress", "Egress"] and spec["podSelector"]["matchLabels"].items() <= labels.items()
        assert all(rule["from"] and rule["ports"] == [{"port": "http"}] for rule in spec.get("ingress", []))
        nats, dns, *more = spec["egress"]
        assert nats["to"] and nats["ports"] == [{"port": 4222}]
        assert dns["to"] and dns["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53}]
        assert more == (EVERYTHING["networkPolicy"]["workerEgress"] if (case, part) == ("everything", "worker") else [])
    assert ("ingress" in render(case)["NetworkPolicy", "worker"]["spec"]) == (case == "everything")
    assert "ingress" not in render("no clients")["NetworkPolicy", "gateway"]["spec"]


def pods_labels(documents, part):
    return documents["StatefulSet" if part == "worker" else "Deployment", part]["spec"]["template"]["metadata"]["labels"]


def test_selectors_select_the_pods_of_their_part_only(render):
    documents = render("everything")
    for (kind, part), one in documents.items():
        if kind in ("StatefulSet", "Deployment", "PodDisruptionBudget"):
            selector = one["spec"]["selector"]["matchLabels"]
        elif kind == "Service":
            selector = one["spec"]["selector"]
        else:
            continue
        assert [other for other in ("worker", "gateway") if selector.items() <= pods_labels(documents, other).items()] == [part], kind
    for part in ("worker", "gateway"):
        wanted = documents["ServiceMonitor", part]["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= documents["Service", part]["metadata"]["labels"].items()


@pytest.mark.parametrize("case, worker, gateway", [("defaults", (0, 30), 30), ("everything", (600, 20), 30)])
def test_a_pod_has_the_time_that_its_drain_needs(render, case, worker, gateway):
    found = pods(render(case))
    variables = {part: {one["name"]: one["value"] for one in pod["containers"][0]["env"]} for part, pod in found.items()}
    assert variables["worker"] == {"PYEXEC_SERVE_DRAIN_SESSIONS": "%ds" % worker[0], "PYEXEC_SERVE_DRAIN_GRACE": "%ds" % worker[1]}
    assert variables["gateway"]["PYEXEC_SERVE_DRAIN_GRACE"] == "%ds" % gateway
    assert found["worker"]["terminationGracePeriodSeconds"] > sum(worker)
    assert found["gateway"]["terminationGracePeriodSeconds"] > gateway + 5
    # A worker drains at SIGTERM. A hook that sends one too would make it the second, which ends runs.
    assert "lifecycle" not in found["worker"]["containers"][0]
    assert found["gateway"]["containers"][0]["lifecycle"]["preStop"] == {"exec": {"command": ["sleep", "5"]}}
    assert render(case)["PodDisruptionBudget", "worker"]["spec"]["maxUnavailable"] in (1, "20%")


@pytest.mark.parametrize("case", ["defaults", "everything"])
def test_the_program_has_each_flag_and_route_that_a_pod_uses(render, case):
    with open(ROOT + "/docs/configuration.md") as file:
        keys = re.findall(r"^\| `([a-z_]+)`", re.search(r"\n## \[serve\]\n(.*?)\n## ", file.read(), re.S)[1], re.M)
    for part, command in (("worker", "worker"), ("gateway", "serve")):
        container, = pods(render(case))[part]["containers"]
        args = container["args"]
        text = subprocess.run([BUILD + "/pyexec", command, "--help"], capture_output=True, text=True, check=True).stdout
        assert args[0] == command and {one for one in args if one.startswith("--")} <= set(re.findall(r"--[a-z][a-z-]*", text))
        urls = EVERYTHING["nats"]["urls"] if case == "everything" else ["nats://nats:4222"]
        assert [args[at + 1] for at, one in enumerate(args) if one == "--nats"] == urls
        assert all(one["name"].replace("PYEXEC_SERVE_", "").lower() in keys for one in container["env"])
        assert (container["livenessProbe"]["httpGet"]["path"], container["readinessProbe"]["httpGet"]["path"]) == ("/healthz", "/readyz")
        assert args[args.index("--listen") + 1] == "0.0.0.0:%d" % container["ports"][0]["containerPort"]


def test_gateways_accept_the_names_of_their_service(render):
    container, = pods(render("everything"))["gateway"]["containers"]
    names = {one["name"]: one["value"] for one in container["env"]}["PYEXEC_SERVE_ALLOWED_HOSTS"].split(",")
    service = render("everything")["Service", "gateway"]["metadata"]["name"]
    assert names == [service, service + ".agents", service + ".agents.svc", service + ".agents.svc.cluster.local", "pyexec.example"]


def test_secrets_are_only_named(render):
    documents = render("everything")
    assert not [one for one in documents if one[0] == "Secret"]
    volumes = {part: {one["name"]: one for one in pod["volumes"]} for part, pod in pods(documents).items()}
    assert [volumes[part]["nats"]["secret"]["secretName"] for part in ("worker", "gateway")] == ["worker-nats", "gateway-nats"]
    assert volumes["worker"]["tokens"]["secret"]["items"] == [{"key": "file", "path": "tokens"}]
    assert documents["ConfigMap", "worker"]["data"] == {"pyexec.conf": EVERYTHING["worker"]["config"]}


def test_workers_scale_on_the_runs_that_wait(render):
    documents = render("everything")
    spec = documents["HorizontalPodAutoscaler", "worker"]["spec"]
    target = documents["StatefulSet", "worker"]
    assert "replicas" not in target["spec"] and spec["scaleTargetRef"]["name"] == target["metadata"]["name"]
    metric, = spec["metrics"]
    name = metric["pods"]["metric"]["name"]
    with open(ROOT + "/docs/operations.md") as file:
        assert re.search(r"^\| `%s` \| gauge " % name, file.read(), re.M)
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "4"}
    assert render("defaults")["StatefulSet", "worker"]["spec"]["replicas"] == 2


def test_a_new_configuration_replaces_the_pods_and_another_parts_does_not(render):
    def checksum(case, part):
        kind = "StatefulSet" if part == "worker" else "Deployment"
        return render(case)[kind, part]["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    assert checksum("defaults", "worker") != checksum("everything", "worker")
    assert checksum("defaults", "worker") == checksum("workers", "worker")


def test_the_chart_is_for_this_version_and_its_image_has_both_programs(render):
    with open(ROOT + "/meson.build") as file:
        version = re.search(r"^  version: '(.*)',$", file.read(), re.M)[1]
    with open(CHART + "/Chart.yaml") as file:
        text = file.read()
    assert 'version: %s\nappVersion: "%s"\n' % (version, version) in text
    assert all(pod["containers"][0]["image"] == "pyexec:" + version for pod in pods(render("defaults")).values())
    with open(ROOT + "/packaging/Containerfile") as file:
        assert "/debs/pyexec-server_*.deb" in (text := file.read()) and "/debs/pyexec-worker_*.deb" in text


def test_names_are_short_enough_for_a_node_of_the_fleet():
    done = helm("template", {}, "a" * 53)
    names = re.findall(r"^  name: (a\S*)$", done.stdout, re.M)
    assert names and max(map(len, names)) + len("-9999") <= 63

"""The Helm chart: rendered by Helm itself, held against the schemas of Kubernetes and against Lever's settings. About 5 s.

There is no cluster here: nothing is installed.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.process.settings import Settings, settings
from tests.rig.programs import PREFIX, ROOT, image_variables, known

CHART = ROOT / "deploy" / "helm" / "lever"
HELM = Path(sys.executable).parent / "helm"
NEWEST, OLDEST = "1.37", "1.27"
URL = "secret.redisUrl=redis://store:6379/0"
EVERYTHING = (
    URL, "secret.tokenKeys=MDEyMzQ1Njc4OWFiY2RlZg==", "apiKeys=true", "secret.keys=keys: []", "tls.secret=cert",
    "tls.clientCa=true", "web.enabled=true", "workers=2", "settings.STATE_MAX=1048576", "settings.LOG_LEVEL=debug",
    "experiments.hero\\.yaml=experiment: hero", "metrics.podMonitor.enabled=true", "metrics.rules.enabled=true",
    "metrics.dashboard.enabled=true", "nodeSelector.disk=ssd", "podAnnotations.team=web",
    "networkPolicy.enabled=true", "networkPolicy.callers[0].podSelector.matchLabels.app=shop",
    "networkPolicy.scrapers[0].namespaceSelector.matchLabels.name=monitoring", "networkPolicy.store.ports={6379,26379}",
    "autoscaling.metrics[0].type=Pods", "autoscaling.metrics[0].pods.metric.name=lever_decisions_per_second",
    "autoscaling.metrics[0].pods.target.type=AverageValue", "autoscaling.metrics[0].pods.target.averageValue=3k",
)  # fmt: skip
LITTLE = ("secret.existing=mine", "autoscaling.enabled=false", "podDisruptionBudget.enabled=false")
RUNBOOK = "https://wiki.example/lever/runbook"
LINKED = (URL, "metrics.rules.enabled=true", f"metrics.rules.runbook={RUNBOOK}")
WAYS = {
    "plain": (URL,),
    "linked": LINKED,
    "everything": EVERYTHING,
    "little": LITTLE,
    "former": (URL, "door.enabled=true"),
}
KEYS = f'keys: [{{name: site, hash: "blake2b:{"0" * 64}", scopes: [decide]}}]'
CUSTOM = {"PodMonitor", "PrometheusRule"}  # the Prometheus operator's own; their schemas are not here


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *arguments], capture_output=True, text=True, timeout=60, check=False)


def chosen(values: tuple[str, ...]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


@functools.cache
def objects(way: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What `helm template` makes of it, by kind and name."""
    done = helm("template", "shop", str(CHART), "--namespace", "web", *chosen(WAYS[way]))
    assert done.returncode == 0, done.stderr
    made = [one for one in yaml.safe_load_all(done.stdout) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in made}


def pod(way: str) -> dict[str, Any]:
    """The Pod of the deployment."""
    found: dict[str, Any] = objects(way)["Deployment", "shop-lever"]["spec"]["template"]
    return found


def environment(way: str) -> dict[str, Any]:
    return {one["name"]: one for one in pod(way)["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize("way", WAYS)
def test_helm_lints_it(way: str) -> None:
    done = helm("lint", "--strict", str(CHART), *chosen(WAYS[way]))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("way", WAYS)
def test_kubernetes_knows_every_field(way: str, version: str) -> None:
    for (kind, _), one in objects(way).items():
        if kind not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)


def test_what_each_way_renders() -> None:
    always = {("Deployment", "shop-lever"), ("Service", "shop-lever"), ("Service", "shop-lever-headless")}
    scaled = {("HorizontalPodAutoscaler", "shop-lever"), ("PodDisruptionBudget", "shop-lever")}
    assert set(objects("little")) == always
    assert set(objects("plain")) == set(objects("former")) == always | scaled | {("Secret", "shop-lever")}
    assert environment("former")["LEVER_WEB_PORT"] == environment("everything")["LEVER_WEB_PORT"]
    assert "LEVER_WEB_PORT" not in environment("plain")
    assert set(objects("everything")) - set(objects("plain")) == {
        ("ConfigMap", "shop-lever"), ("ConfigMap", "shop-lever-dashboard"), ("PodMonitor", "shop-lever"),
        ("PrometheusRule", "shop-lever-rules"), ("PrometheusRule", "shop-lever-alerts"), ("NetworkPolicy", "shop-lever"),
    }  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_selectors_find_the_pods_and_ports_have_names(way: str) -> None:
    labels = pod(way)["metadata"]["labels"]
    ports = {port["name"] for port in pod(way)["spec"]["containers"][0]["ports"]}
    selectors, wanted = [], set()
    for (kind, _), one in objects(way).items():
        match = one.get("spec", {}).get("selector")
        if match is not None:
            selectors.append(match if kind == "Service" else match["matchLabels"])
        if kind == "Service":
            wanted |= {port["targetPort"] for port in one["spec"]["ports"]}
        if kind == "PodMonitor":
            wanted |= {end["port"] for end in one["spec"]["podMetricsEndpoints"]}
    assert selectors
    assert all(selector.items() <= labels.items() for selector in selectors)
    assert wanted <= ports
    assert objects(way)["Service", "shop-lever-headless"]["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("way", WAYS)
def test_variables_are_settings_that_lever_takes(way: str, tmp_path: Path) -> None:
    given = {name: one["value"] for name, one in environment(way).items() if "value" in one}
    assert all(known(name) for name in environment(way))
    paths = {name: str(tmp_path / name) for name, value in given.items() if value.startswith("/etc/lever/")}
    for path in paths.values():
        Path(path).write_text(KEYS)
    image = {name: value for name, value in image_variables().items() if name.startswith(PREFIX)}
    made = settings({}, {**image, **given, **paths, "LEVER_REDIS_URL": "redis://store:6379/0"})
    ports = {port["containerPort"] for port in pod(way)["spec"]["containers"][0]["ports"]}
    assert {made.grpc_port, made.http_port, *([made.web_port] if made.web_port else [])} == ports
    assert way != "everything" or (made.state_max, made.workers, made.log_level) == (1 << 20, 2, "debug")
    patience = pod(way)["spec"]["terminationGracePeriodSeconds"]
    assert patience >= 5 + Settings().grace_s + 20  # preStop, running calls, the last flush and the side port


@pytest.mark.parametrize("way", WAYS)
def test_mounts_volumes_and_secrets_are_there(way: str) -> None:
    spec = pod(way)["spec"]
    container, volumes = spec["containers"][0], {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounted = tuple(mount["mountPath"] for mount in container["volumeMounts"])
    assert all(
        one["value"].startswith(mounted) for one in environment(way).values() if one.get("value", "").startswith("/")
    )
    for name in ("LEVER_REDIS_URL", "LEVER_TOKEN_KEYS"):
        reference = environment(way)[name]["valueFrom"]["secretKeyRef"]
        secret = objects(way).get(("Secret", reference["name"]))
        assert reference["name"] == ("mine" if way == "little" else "shop-lever")
        assert secret is None or reference["key"] in secret["stringData"] or reference.get("optional")


def test_probes_ask_what_can_answer() -> None:
    plain, secured = (pod(way)["spec"]["containers"][0] for way in ("plain", "everything"))
    assert plain["readinessProbe"]["grpc"] == {"port": 50051}
    assert secured["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert plain["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_servers_are_added_by_what_their_processes_use_of_a_core_each() -> None:
    plain, everything = (
        objects(way)["HorizontalPodAutoscaler", "shop-lever"]["spec"]["metrics"] for way in ("plain", "everything")
    )
    assert [one["resource"]["target"]["averageValue"] for one in plain] == ["700m"]
    assert everything[0]["resource"]["target"]["averageValue"] == "2100m", "two workers and the web process"
    assert everything[1]["pods"]["metric"]["name"] == "lever_decisions_per_second"


def test_the_network_lets_in_whom_it_should_and_reaches_the_store() -> None:
    policy = objects("everything")["NetworkPolicy", "shop-lever"]["spec"]
    calls, scrapes = policy["ingress"]
    names = {port["name"] for port in pod("everything")["spec"]["containers"][0]["ports"]}
    assert {port["port"] for port in calls["ports"]} == {"grpc", "http"}
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == names
    assert calls["from"] == [{"podSelector": {"matchLabels": {"app": "shop"}}}]
    assert scrapes["from"] == [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 6379, 26379}


def test_rules_and_dashboard_are_the_shipped_ones() -> None:
    made = objects("everything")
    for name in ("rules", "alerts"):
        shipped = yaml.safe_load((ROOT / "deploy" / "prometheus" / f"{name}.yml").read_text())
        assert made["PrometheusRule", f"shop-lever-{name}"]["spec"] == shipped
    groups = objects("linked")["PrometheusRule", "shop-lever-alerts"]["spec"]["groups"]
    links = {rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"]}
    assert all(link.startswith(f"{RUNBOOK}#lever") for link in links)
    shown = json.loads(made["ConfigMap", "shop-lever-dashboard"]["data"]["lever.json"])
    assert shown == json.loads((ROOT / "deploy" / "grafana" / "lever.json").read_text())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((), "secret.redisUrl or secret.existing is needed"),
        (("secret.redisUrl=http://x",), "redisUrl"),
        ((URL, "apiKeys=true"), "apiKeys needs secret.keys"),
        ((URL, "replica=3"), "replica"),
        ((URL, "networkPolicy.store.ports={0}"), "ports"),
        ((URL, "settings.LEVER_WORKERS=3"), "LEVER_WORKERS"),
    ],
)
def test_wrong_values_are_refused(values: tuple[str, ...], said: str) -> None:
    done = helm("template", "shop", str(CHART), *chosen(values))
    assert done.returncode != 0
    assert said in done.stderr


def test_notes_tell_how_to_reach_it(tmp_path: Path) -> None:
    # Only `helm install` shows notes, and it asks a cluster even when it runs dry; so they become an object.
    chart = Path(shutil.copytree(CHART, tmp_path / "lever"))
    notes = (chart / "templates" / "NOTES.txt").read_text()
    (chart / "templates" / "notes.yaml").write_text("text: |\n" + textwrap.indent(notes, "  "))
    done = helm(
        "template", "shop", str(chart), "--namespace", "web", "--show-only", "templates/notes.yaml", *chosen((URL,))
    )
    assert done.returncode == 0, done.stderr
    assert "dns:///shop-lever-headless.web:50051" in yaml.safe_load(done.stdout)["text"]

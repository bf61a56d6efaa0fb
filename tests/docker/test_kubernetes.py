"""docker/kubernetes: no cluster runs the manifests here, so they are held to the images and to their schemas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
FILES = sorted((DOCKER / "kubernetes").glob("*.yaml"))
FOUND = [(file.name, each) for file in FILES for each in yaml.safe_load_all(file.read_text())]
SERVING = (DOCKER / "Dockerfile.serve").read_text()


def pods() -> list[tuple[str, dict[str, Any]]]:
    """What a pod of each kind is made from: its name, and labels and spec."""
    made = []
    for _, each in FOUND:
        spec = each.get("spec", {})
        template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if template:
            made.append((each["metadata"]["name"], template | {"claims": spec.get("volumeClaimTemplates", [])}))
    return made


PODS = pods()
SERVERS = [(name, pod) for name, pod in PODS if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "serve"]


def test_there_are_servers_and_a_training() -> None:
    assert [name for name, _ in SERVERS] == ["cascade-live", "cascade-serve"] and len(PODS) == 3


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_a_pod_has_what_it_mounts_and_no_rights(name: str, pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    [container] = spec["containers"]
    there = [volume["name"] for volume in spec["volumes"]] + [claim["metadata"]["name"] for claim in pod["claims"]]
    assert sorted(mount["name"] for mount in container["volumeMounts"]) == sorted(there)
    assert any(mount["mountPath"] == "/dev/shm" for mount in container["volumeMounts"])
    image = container["image"].removeprefix("cascade-")
    assert f"USER {spec['securityContext']['runAsUser']}:" in (DOCKER / f"Dockerfile.{image}").read_text()
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert {"memory", "nvidia.com/gpu"} == set(container["resources"]["limits"])


@pytest.mark.parametrize(("name", "pod"), SERVERS, ids=[name for name, _ in SERVERS])
def test_a_server_is_the_one_of_the_image(name: str, pod: dict[str, Any]) -> None:
    [container] = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert " ".join(map(str, ports.values())) in re.findall(r"^EXPOSE (.*)$", SERVING, re.MULTILINE)
    assert {entry["name"] for entry in container["env"]} <= set(re.findall(r"CASCADE_\w+", SERVING))
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}
    command = container["livenessProbe"]["exec"]["command"]
    assert (
        f"HEALTHCHECK --interval=10s --timeout=10s --start-period=120s --retries=3 \\\n    CMD {_json(command)}"
        in SERVING
    )
    mounted = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounted["/models"] is True and ("/events" in mounted) == (name == "cascade-live")


def test_what_selects_finds_the_servers_and_claims_are_there() -> None:
    labels = SERVERS[0][1]["metadata"]["labels"]
    assert all(pod["metadata"]["labels"] == labels for _, pod in SERVERS)
    for _, each in FOUND:
        if selector := each["spec"].get("selector"):
            assert selector.get("matchLabels", selector) == labels
    claims = {each["metadata"]["name"] for _, each in FOUND if each["kind"] == "PersistentVolumeClaim"}
    used = [
        volume["persistentVolumeClaim"]
        for _, pod in PODS
        for volume in pod["spec"]["volumes"]
        if len(volume) == 2 and "persistentVolumeClaim" in volume
    ]
    assert {claim["claimName"] for claim in used} == claims


def test_the_training_is_a_command_of_ours() -> None:
    from tests.scripts.test_code_blocks import wrong

    [pod] = [pod for name, pod in PODS if name == "cascade-retrain"]
    [container] = pod["spec"]["containers"]
    assert container["args"][0] == "retrain" and not wrong(["cascade", *container["args"]])
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    paths = [word for word in container["args"] if word.startswith("/")]
    assert len(paths) == 3 and all(any(path.startswith(place) for place in mounted) for path in paths)


@pytest.mark.parametrize(("file", "manifest"), FOUND, ids=[f"{each['kind']}" for _, each in FOUND])
def test_it_meets_the_schema_of_its_kind(file: str, manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def _json(words: list[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"

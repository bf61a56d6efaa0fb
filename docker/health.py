"""Whether this container answers: exit 0 when every process of the model does, 1 and a sentence when not.

Triton's own readiness does not notice a dead Python process, in which every request fails. So this asks for slates,
twice as many as the model has processes, and the model of live events for a refusal. Standard library only: it runs in
the Triton image as well.

Usage: health.py [HTTP_URL] [--end=FOLDER]. --end also ends a tritonserver on the repository FOLDER that has lost a
process and fails, for images in which nothing replaces it: the container stops, and is started again from outside.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL, EVENTS_MODEL = "cascade", "cascade_events"
REFUSED = 400
END = "--end="
STUB = "triton_python_b"  # as the kernel cuts it
TIMEOUT_S = 3.0
MOST_REQUESTS = 32
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def broken_servers(folder: str) -> Iterator[int]:
    """Ids of the tritonservers on a repository that have a dead or stopped model process."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text()
            name, rest = stat[stat.find("(") + 1 : stat.rfind(")")], stat[stat.rfind(")") + 1 :].split()
            words = Path(f"/proc/{rest[1]}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if name == STUB and rest[0] in "ZXT" and f"--model-repository={folder}" in words:
            yield int(rest[1])


def get(url: str) -> Any:
    """The JSON at a URL; {} where there is nothing in the answer."""
    with OPENER.open(url, timeout=TIMEOUT_S) as response:
        return json.loads(response.read() or b"{}")


def num_instances(url: str, config: dict[str, Any]) -> int:
    """The most processes that a model, or a step of it, has."""
    steps = config.get("ensemble_scheduling", {}).get("step", [])
    configs = [get(f"{url}/v2/models/{step['model_name']}/config") for step in steps] or [config]
    return max(sum(group.get("count", 1) for group in each.get("instance_group", [{}])) for each in configs)


def ask(url: str) -> None:
    """Ask for the slate of a user that nobody knows, often enough for each process to have its turn."""
    config = get(f"{url}/v2/models/{MODEL}/config")
    kind = next(each["data_type"] for each in config["input"] if each["name"] == "user_id").removeprefix("TYPE_")
    kind, user = ("BYTES", "0") if kind == "STRING" else (kind, 0)
    body = json.dumps({"inputs": [{"name": "user_id", "shape": [1, 1], "datatype": kind, "data": [user]}]}).encode()
    for _ in range(min(2 * num_instances(url, config), MOST_REQUESTS)):
        with OPENER.open(f"{url}/v2/models/{MODEL}/infer", data=body, timeout=TIMEOUT_S) as response:
            json.load(response)


def ask_events(url: str) -> None:
    """Send the model that takes in live events, where there is one, what it refuses without keeping anything."""
    try:
        get(f"{url}/v2/models/{EVENTS_MODEL}/ready")
    except urllib.error.HTTPError:
        return
    kind = {"name": "kind", "shape": [1, 1], "datatype": "BYTES", "data": ["health"]}
    body = json.dumps({"inputs": [kind], "parameters": {"health": "check"}}).encode()
    try:
        with OPENER.open(f"{url}/v2/models/{EVENTS_MODEL}/infer", data=body, timeout=TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        if error.code != REFUSED:
            raise


def main(arguments: list[str]) -> int:
    """See the top of this file."""
    ends = [each.removeprefix(END) for each in arguments if each.startswith(END)]
    url = next((each for each in arguments if not each.startswith(END)), "http://127.0.0.1:8000").rstrip("/")
    try:
        get(f"{url}/v2/health/ready")
        ask(url)
        ask_events(url)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        print(f"{url} does not answer as it should: {type(error).__name__}: {error}")
        for server in {server for folder in ends for server in broken_servers(folder)}:
            os.kill(server, signal.SIGTERM)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The page of what is used, as Prometheus reads it."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from operations.exporter import exporter
from operations.usage.metrics import UsageCollector
from runtime.log.usage import MOST_CONSUMERS, Usage
from workflows.core.errors import ServingError


def page(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every value of the page, by its name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        text = response.read().decode()
    families = list(text_string_to_metric_families(text))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_page_says_what_was_counted_and_goes_on_with_it(tmp_path) -> None:
    usage = Usage(tmp_path, {"model_version": "3", "layout": "fused", "step": "chain"}, [], print, each_s=0.01)
    for us in (900, 7_000, 9_000_000):
        usage.request("web", "ok", us)
    usage.request("app", "refused", None)
    for slate in [(b"known_user", 20, 20), (b"popularity", 3, 20)]:
        usage.slate("web", *slate)
    with exporter([UsageCollector(lambda: [tmp_path])], "127.0.0.1", 0) as port:
        until = time.monotonic() + 120
        short = (("consumer", "web"), ("fullness", "short"), ("path", "popularity"))
        # What was counted last: the file may have been written between two of these.
        while (said := page(port)).get(("cascade_slates_total", short)) != 1:
            assert time.monotonic() < until
        assert said["cascade_requests_total", (("consumer", "app"), ("outcome", "refused"))] == 1
        assert said["cascade_requests_total", (("consumer", "web"), ("outcome", "failed"))] == 0
        assert said["cascade_processes", (("layout", "fused"), ("step", "chain"), ("version", "3"))] == 1
        buckets = [
            said["cascade_service_seconds_bucket", (("consumer", "web"), ("le", le))]
            for le in ("0.001", "0.005", "0.01", "5.0", "+Inf")
        ]
        assert buckets == [1, 1, 2, 2, 3]
        assert said["cascade_service_seconds_sum", (("consumer", "web"),)] == pytest.approx(9.0079)
        assert said["cascade_service_seconds_count", (("consumer", "web"),)] == 3
        usage.request("web", "ok", 1)
        usage.close()
        said = page(port)
        assert said["cascade_requests_total", (("consumer", "web"), ("outcome", "ok"))] == 4
        assert ("cascade_processes", (("layout", "fused"), ("step", "chain"), ("version", "3"))) not in said


def test_any_name_makes_a_page_that_can_be_read_and_names_are_few(tmp_path) -> None:
    usage = Usage(tmp_path, {}, [], print)
    odd = ['with "quotes"\n{and} \\ more', "é" * 64, *(f"n{number}" for number in range(1000))]
    for name in odd:
        usage.request(usage.consumer(name), "ok", 5)
    usage.close()
    with exporter([UsageCollector(lambda: [tmp_path])], "127.0.0.1", 0) as port:
        said = page(port)
    counted = {
        dict(labels)["consumer"]: value
        for (name, labels), value in said.items()
        if name == "cascade_requests_total" and ("outcome", "ok") in labels
    }
    assert counted[odd[0]] == counted[odd[1]] == 1
    assert len(counted) == MOST_CONSUMERS + 1 and counted["other"] == len(odd) - MOST_CONSUMERS
    assert len(said) < 5000


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with exporter([], "127.0.0.1", 0) as port, pytest.raises(ServingError, match="cannot be listened on"):  # noqa: SIM117
        with exporter([], "127.0.0.1", port):
            pass

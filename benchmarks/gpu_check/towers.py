"""One training step of a PyTorch twin of the two towers, on the CPU and on the GPU: the same loss, and the speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu_check.parts import Settings

__all__ = ["measure"]

ITEMS, DIM, BATCH, STEPS, HISTORY = 100_000, 64, 4096, 10, 20
SEED, RATE, TEMPERATURE = 0, 1e-3, 0.1


def measure(settings: Settings) -> Iterator[dict[str, Any]]:
    """Losses and milliseconds a step."""
    try:
        import torch
    except ImportError:
        yield {"skipped": "PyTorch is not here"}
        return
    num_items, batch = (max(int(size * settings["scale"]), 64) for size in (ITEMS, BATCH))
    found: dict[str, Any] = {"batch": batch}
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for name in devices:
        losses, seconds = _train(torch, name, num_items, batch)
        found[name] = {"losses": losses, "ms_per_step": seconds * 1e3}
        yield found
    if len(devices) > 1:
        apart = max(abs(a - b) for a, b in zip(found["cpu"]["losses"], found["cuda"]["losses"], strict=True))
        found["losses_apart"] = apart
        yield found


def _train(torch: Any, name: str, num_items: int, batch: int) -> tuple[list[float], float]:
    """A few steps of in-batch softmax over a history tower and an item tower."""
    torch.manual_seed(SEED)
    items = torch.nn.Embedding(num_items, DIM)
    head = torch.nn.Sequential(torch.nn.Linear(DIM, 128), torch.nn.ReLU(), torch.nn.Linear(128, DIM))
    histories = torch.randint(num_items, (STEPS, batch, HISTORY))
    targets = torch.randint(num_items, (STEPS, batch))
    device = torch.device(name)
    model = torch.nn.ModuleList([items, head]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    losses, started = [], 0.0
    for step in range(STEPS):
        if step == STEPS // 2:
            _wait(torch, name)
            started = time.perf_counter()
        query = torch.nn.functional.normalize(head(items(histories[step].to(device)).mean(dim=1)), dim=1)
        item = torch.nn.functional.normalize(items(targets[step].to(device)), dim=1)
        logits = query @ item.T / TEMPERATURE
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(batch, device=device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    _wait(torch, name)
    return losses, (time.perf_counter() - started) / (STEPS - STEPS // 2)


def _wait(torch: Any, name: str) -> None:
    if name == "cuda":
        torch.cuda.synchronize()

"""Run the parts one after the other, each in a process of its own with its own time limit."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.parts import FAISS_PARTS, PARTS, Part
from benchmarks.gpu_check.pieces import Missing, join
from benchmarks.gpu_check.table import table

# What the two calls write, without .json and .md.
ALL, FAISS = "gpu", "gpu_faiss"


def main() -> int:
    """The result is written after each part, so that a run which is cut off leaves what it had."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"device": options.device, "scale": options.scale, "parts": {}}
    if options.faiss and options.device == "cupy":
        try:
            site = join(options.pieces)
        except Missing as error:
            print(error, file=sys.stderr)
            return 1
        os.environ["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = options.out / (FAISS if options.faiss else ALL)
    for part in FAISS_PARTS if options.faiss else PARTS:
        if options.only and part.name not in options.only:
            continue
        record["parts"][part.name] = said = run_part(part, options)
        print(f"{part.name}: {said.get('error') or 'done'} in {said['seconds']:.0f} s", flush=True)
        result.with_suffix(".json").write_text(json.dumps(record, indent=1))
        result.with_suffix(".md").write_text(table(record))
    print(table(record))
    return int(any("error" in said for said in record["parts"].values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/gpu_check"), help="where gpu.json and gpu.md go")
    parser.add_argument("--carried", type=Path, default=Path("build/gpu_check"), help="what `prepare` made")
    parser.add_argument("--device", choices=["cupy", "numpy"], default="cupy", help="numpy: a rehearsal without a GPU")
    parser.add_argument("--scale", type=float, default=1.0, help="of the catalogues, for a rehearsal")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256, 2048], help="users a call")
    parser.add_argument("--faiss", action="store_true", help="compare FAISS on the GPU with our search, nothing else")
    parser.add_argument("--pieces", type=Path, default=Path("build/gpu_check_faiss"), help="what `faiss prepare` made")
    parser.add_argument(
        "--only", nargs="*", metavar="PART", help=f"of {', '.join(part.name for part in (*PARTS, *FAISS_PARTS))}"
    )
    return parser.parse_args()


def run_part(part: Part, options: argparse.Namespace) -> dict[str, Any]:
    """What a part found, or why it found nothing."""
    started = time.monotonic()
    given = {name: getattr(options, name) for name in ("device", "scale", "batches")}
    given |= {"carried": str(options.carried), **part.settings}
    command = [sys.executable, "-m", "benchmarks.gpu_check.parts", part.name, json.dumps(given)]
    # A group of its own, so that what a part has started ends with it and does not slow the next.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=part.limit_s)
        late = ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        late = f"took more than {part.limit_s} s"
    said = _last(output)
    if late:
        said["error"] = late
    elif process.returncode:
        said["error"] = (errors.strip().splitlines() or [f"ended with {process.returncode}"])[-1]
    if "error" in said:
        said["trace"] = errors[-3000:]
    return {**said, "seconds": time.monotonic() - started}


def _last(output: str) -> dict[str, Any]:
    """The last line that a part printed: each holds all that it has found so far."""
    for line in reversed(output.splitlines()):
        with contextlib.suppress(ValueError):  # the last one of a part that was killed may be cut
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {}


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/console.webp, the README's picture.

`python -m scripts.console_picture RUN --page "/user?user=17&size=5"`, with a run of configs/shop.toml. It needs a
Chromium and Pillow, which the extras for training bring along.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone
from workflows.core.errors import ServingError

__all__ = ["PICTURE", "console_picture"]

PICTURE = Path(__file__).parent.parent / "docs" / "console.webp"
MOST_BYTES = 150_000


@one_sentence_errors
def console_picture(
    run: Annotated[Path, typer.Argument(help="Run directory or published model repository.")],
    page: Annotated[str, typer.Option("--page", help="What of the console is shown.")] = "/user",
    out: Annotated[Path, typer.Option("--out", help="The picture, WebP.")] = PICTURE,
    width: Annotated[int, typer.Option("--width", min=390, help="Of the window, in pixels.")] = 1360,
    height: Annotated[int, typer.Option("--height", min=300, help="Of the window, in pixels.")] = 1000,
) -> None:
    """Take a picture of a page of the console."""
    import uvicorn
    from PIL import Image

    from console.app import application
    from console.serve import listening
    from console.site import Site

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise ServingError("there is no chromium on PATH: install it (on Debian: apt-get install chromium)")
    with listening("127.0.0.1", 0) as listener, tempfile.TemporaryDirectory() as folder:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}{page}"
        server = uvicorn.Server(uvicorn.Config(application(Site(run)), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            shot = Path(folder) / "shot.png"
            options = ["--headless=new", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
            options += [f"--window-size={width},{height}", f"--screenshot={shot}", "--virtual-time-budget=10000"]
            subprocess.run([browser, *options, address], check=True, capture_output=True, timeout=120)
        finally:
            server.should_exit = True
            thread.join()
        with Image.open(shot) as picture:
            picture.convert("RGB").save(out, "WEBP", quality=80, method=6)
    if (size := out.stat().st_size) > MOST_BYTES:
        raise ServingError(f"{out} has {size:,} bytes, more than {MOST_BYTES:,}: a smaller --width or --height")
    typer.echo(f"{out}: {size:,} bytes")


if __name__ == "__main__":
    run_alone(console_picture)

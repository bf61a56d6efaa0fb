"""Tables behind URLs: file://, and a real HTTP server with and without byte ranges."""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

EVENTS = pd.DataFrame({"user_id": [1, 2, 1, 2, 3], "item_id": [7, 8, 8, 9, 7], "at": [5, 6, 7, 8, 9]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    EVENTS.to_parquet(root / "e.parquet")
    EVENTS.to_csv(root / "e.csv", index=False)
    return root


@pytest.fixture(scope="module", params=[True, False], ids=["ranges", "whole-files"])
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[str, bool]]:
    """Base URL, and whether the server answers requests for a range of bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            body, asked = path.read_bytes(), re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if ranged := bool(asked and request.param):
                size, first, last = len(body), int(asked[1]), int(asked[2] or len(body) - 1)
                body = body[first : last + 1]
            self.send_response(206 if ranged else 200)
            if ranged:
                self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{size}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}", request.param
        listening.shutdown()
        thread.join()


def prepared(root: Path, url: str) -> list[int]:
    data, everything = DataConfig(events=url, timestamp="at"), SplitConfig(valid_fraction=0.0, test_fraction=0.0)
    prepare_data(Run(root / "run"), data, everything, ShopConfig(), 4)
    return list(pd.read_parquet(root / "run" / "data" / "train")["at"])


@pytest.mark.parametrize("name", ["e.parquet", "e.csv", "*.csv"])
def test_a_file_url_is_a_path(tmp_path, folder, name):
    assert prepared(tmp_path, f"file://{folder}/{name}") == [5, 6, 7, 8, 9]


def test_http_reads_csv_from_any_server_and_parquet_where_ranges_are_served(tmp_path, server):
    url, has_ranges = server
    assert prepared(tmp_path / "csv", f"{url}/e.csv") == [5, 6, 7, 8, 9]
    with pytest.raises(DataError, match=r"expected files at .*/none\.csv, got nothing there"):
        prepared(tmp_path / "none", f"{url}/none.csv")
    if has_ranges:
        assert prepared(tmp_path / "parquet", f"{url}/e.parquet") == [5, 6, 7, 8, 9]
    else:
        with pytest.raises(DataError, match="its server sends whole files only, and Parquet is read from the end"):
            prepared(tmp_path / "parquet", f"{url}/e.parquet")


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_filesystem_that_is_not_installed_is_named(tmp_path, scheme, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(DataError, match=f"{scheme}:// cannot be used .*[Ii]nstall {package} .*") as raised:
        prepared(tmp_path, f"{scheme}://bucket/e.parquet")
    assert "\n" not in str(raised.value)

"""What cascade-client is to those who install it: one small package that needs nothing else of ours."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cascade_client

ROOT = Path(__file__).parents[2]
OURS = ("runtime", "workflows", "models", "ensemble", "operations", "scripts", "benchmarks", "msgspec")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, built from a copy without an index."""
    folder = tmp_path_factory.mktemp("client")
    kept_out = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "client", folder / "source", ignore=kept_out)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=folder / "source", check=True, capture_output=True)
    [built] = folder.glob("cascade_client-*.whl")
    shutil.unpack_archive(built, folder / "unpacked", "zip")
    return folder / "unpacked"


def test_the_wheel_needs_numpy_and_tritonclient_alone(wheel: Path) -> None:
    [metadata] = wheel.glob("*.dist-info/METADATA")
    text = metadata.read_text()
    needed = re.findall(r"^Requires-Dist: ([\w-]+)(.*)$", text, re.MULTILINE)
    assert [name for name, terms in needed if "extra ==" not in terms] == ["numpy", "tritonclient"]
    assert {name for name, terms in needed if "extra ==" in terms} == {"lmdb", "redis", "hiredis", "boto3"}
    assert "\nRequires-Python: <3.15,>=3.9\n" in text
    assert (wheel / "cascade_client" / "py.typed").is_file()
    modules = {path.name for path in (ROOT / "client/cascade_client").glob("*.py")}
    assert {path.name for path in (wheel / "cascade_client").glob("*.py")} == modules


def test_it_imports_nothing_of_ours_and_the_libraries_only_when_a_client_is_made(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import sys, cascade_client\n"
        f"assert cascade_client.__file__.startswith({str(wheel)!r})\n"
        "print(sorted({'tritonclient', 'grpc', 'gevent', 'aiohttp', 'lmdb', 'redis', 'boto3'} & set(sys.modules)))\n"
        "for url in ('grpc://h', 'http://h'):\n"
        "    cascade_client.CascadeClient(url).close()\n"
        "    cascade_client.AsyncCascadeClient(url)\n"
        f"print(sorted(set({OURS!r}) & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_every_module_is_python_3_9() -> None:
    for path in (ROOT / "client/cascade_client").glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 9))
        names = {node.attr if isinstance(node, ast.Attribute) else node.arg for node in ast.walk(tree)
                 if isinstance(node, (ast.Attribute, ast.keyword))}  # fmt: skip
        assert not {"strict", "slots", "kw_only", "TypeAlias"} & names, path.name
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if getattr(call.func, "id", "") == "isinstance":
                assert not isinstance(call.args[1], ast.BinOp), f"{path.name}:{call.lineno}"


def test_what_is_exported_is_there_and_documented() -> None:
    assert sorted(cascade_client.__all__) == cascade_client.__all__
    for name in cascade_client.__all__:
        assert name in vars(cascade_client)
    text = (ROOT / "client/README.md").read_text()
    for name in ("CannotReach", "Timeout", "Unavailable", "RequestRefused", "WrongServer", "BadSetting", "Retry"):
        assert f"`{name}" in text


def test_both_distributions_have_the_version_that_one_asks_for() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "client/pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f'"cascade-client=={version[1]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", ["address", "aio", "client", "slate_cache", "slate_stores"])
def test_the_examples_of_docstrings_run(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"cascade_client.{name}"))
    assert (done.failed, done.attempted > 0) == (0, True)


@pytest.mark.triton
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("file", "num_blocks"), [("client/README.md", 3), ("README.md", 1)])
def test_the_code_of_the_readmes_runs(
    file: str, num_blocks: int, toy_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)
    blocks = [block for block in blocks if "cascade_client" in block]
    assert len(blocks) == num_blocks
    for block in blocks:
        code = block.replace("localhost:8001", toy_server.grpc_url).replace("timeout_s=0.5", "timeout_s=60")
        code = code.replace('"mobile"', '"1"').replace('"desktop"', '"2"')  # the toy model reads numbers alone
        exec(compile(code, file, "exec"), {})
    assert "17 known_user [17000, 17001, 17002, 17003, 17004]" in capsys.readouterr().out

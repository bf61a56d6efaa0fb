"""What MkDocs does not do by itself: pages from outside docs/, links to source files, whole folders in the navigation.

MkDocs calls the functions by their names; https://www.mkdocs.org/user-guide/plugins/#events says when.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = "docs"
NOTEBOOKS = "notebooks"
# File of the repository -> page of the site.
OUTSIDE = {"CHANGELOG.md": "CHANGELOG.md", "client/README.md": "CLIENT.md", "docker/README.md": "DOCKER.md"}
OUTSIDE |= {name: name for name in ("DECISIONS.md", "CONTRIBUTING.md", "SECURITY.md")}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1`*\s*$", re.MULTILINE | re.DOTALL)
# What a browser fetches without being asked.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//|<link\b[^>]*\bhref=[\"']?https?://"
)
FETCHED_BY_STYLE = re.compile(r"url\([\"']?(?:https?:)?//|@import\s+[\"'](?:https?:)?//")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Folders of the navigation become their pages; pages that it does not name yet come last among the how-tos."""
    config.nav = _expanded(config.nav or [])
    named = set(_names(config.nav))
    how_to = next(entry["How-to"] for entry in config.nav if "How-to" in entry)
    how_to += [name for name in sorted(path.name for path in (ROOT / DOCS).glob("*.md")) if name not in named]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages from outside docs/ join, and notebooks become pages."""
    for path in sorted((ROOT / DOCS / NOTEBOOKS).glob("*.ipynb")):
        files.append(File.generated(config, f"{NOTEBOOKS}/{path.stem}.md", content=_of_notebook(path)))
    for source, name in OUTSIDE.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def _of_notebook(path: Path) -> str:
    """A notebook as Markdown: its texts, its code, and what each cell gave when it was run last."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {"text/plain": output.get("text", [])})
            text = "".join(data.get("text/html") or data["text/plain"]).rstrip()
            text = text.replace('<table border="1" class="dataframe">', "<table>")
            parts.append(text if "text/html" in data else f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links are as the repository has them; those to source files, which the site has not, become their text."""
    here = _source_of(page.file.src_uri)

    def rewritten(found: re.Match[str]) -> str:
        image, text, target, anchor = found[1], found[2], found[3], found[4] or ""
        path = PurePosixPath(os.path.normpath(PurePosixPath(here).parent / target)).as_posix()
        name = _page_of(path)
        if name is not None and name in files.src_uris:
            return f"{image}[{text}]({os.path.relpath(name, PurePosixPath(page.file.src_uri).parent)}{anchor})"
        return text if (ROOT / path).exists() and not path.startswith("..") else found[0]

    code = [found.span() for found in FENCE.finditer(markdown)]
    return LINK.sub(
        lambda found: found[0] if any(start <= found.start() < end for start, end in code) else rewritten(found),
        markdown,
    )


def on_post_build(config: MkDocsConfig) -> None:
    """The built pages ask no other host for anything.

    Raises:
        PluginError: one does.
    """
    for pattern, found in (("*.html", FETCHED), ("*.css", FETCHED_BY_STYLE)):
        for path in sorted(Path(config.site_dir).rglob(pattern)):
            if match := found.search(path.read_text(encoding="utf-8")):
                raise PluginError(f"{path} fetches from another host: {match[0]}")


def _expanded(entries: list[Any]) -> list[Any]:
    """The navigation with every entry "folder/" replaced by the pages of docs/folder, in the order of their names."""
    out: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            out.append({title: _expanded(part) if isinstance(part, list) else part for title, part in entry.items()})
        elif entry.endswith("/"):
            out += [f"{entry}{path.name}" for path in sorted((ROOT / DOCS / entry).glob("*.md"))]
        else:
            out.append(entry)
    return out


def _names(entries: list[Any]) -> Iterator[str]:
    """Every page of the navigation."""
    for entry in entries:
        parts = list(entry.values()) if isinstance(entry, dict) else [entry]
        for part in parts:
            yield from _names(part) if isinstance(part, list) else [part]


def _source_of(name: str) -> str:
    """The repository's file of a page."""
    return next((source for source, page in OUTSIDE.items() if page == name), f"{DOCS}/{name}")


def _page_of(path: str) -> str | None:
    """The page, or the other file of the site, of a file of the repository."""
    inside = path.removeprefix(f"{DOCS}/") if path.startswith(f"{DOCS}/") else None
    if inside is not None and inside.startswith(f"{NOTEBOOKS}/"):
        inside = str(PurePosixPath(inside).with_suffix(".md"))
    return OUTSIDE.get(path, inside)

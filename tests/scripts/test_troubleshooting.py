"""docs/TROUBLESHOOTING.md quotes sentences that the code says, word for word."""

from __future__ import annotations

import ast
import re

from tests.scripts.tracked import ROOT, tracked

PAGE = ROOT / "docs" / "TROUBLESHOOTING.md"
CODE = ("client/cascade_client", "ensemble", "models", "operations", "runtime", "scripts", "workflows", "console")


def sentences(text: str) -> set[str]:
    """The texts of Python code, with … for what is put into them."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            found.add("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def unsaid(page: str, said: set[str]) -> list[str]:
    """The quoted sentences of the page that nothing says."""
    return [
        quoted for quoted in re.findall(r"^```text\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL) if quoted not in said
    ]


def sources_of(page: str) -> list[str]:
    """The files that may say a sentence of the page: they have its longest piece. To parse all takes seconds."""
    pieces = [max(line.split("…"), key=len) for line in re.findall(r"^```text\n(.*)$", page, re.MULTILINE)]
    texts = [
        (ROOT / file).read_text("utf-8") for file in tracked() if str(file).startswith(CODE) and file.suffix == ".py"
    ]
    joined = [re.sub(r"""["']\s*\n\s*f?["']""", "", text) for text in texts]
    return [text for text, whole in zip(texts, joined, strict=True) if any(piece in whole for piece in pieces)]


def test_every_quoted_sentence_is_one_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("```text") > 25
    assert not unsaid(page, set().union(*map(sentences, sources_of(page))))


def test_a_sentence_that_was_reworded_is_found() -> None:
    said = sentences('raise Error(f"port {port} of {host} is " "taken")\n"the disk is full"\n')
    assert unsaid("```text\nport … of … is taken\n```\n\n```text\nthe disk is full\n```\n", said) == []
    assert unsaid("```text\nport … is taken\n```\n", said) == ["port … is taken"]

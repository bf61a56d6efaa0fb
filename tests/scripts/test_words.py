"""docs/GLOSSARY.md has each word once, and words that it replaced do not come back."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.scripts.tracked import ROOT, tracked

GLOSSARY = ROOT / "docs" / "GLOSSARY.md"
# What the files of the past may say, and the page that names them, and this test.
EXCEPT = {"CHANGELOG.md", "DECISIONS.md", "docs/GLOSSARY.md", "tests/scripts/test_words.py"}
RECORDS = Path("docs/decisions")
GONE = {
    r"\b(speaks?|spoken) for\b": "contributes to",
    r"(?<!de)nominat": "finds, candidate",
    r"\b(owned|owned_by)\b": "seen",
    r"\bstand-in": "placeholder",
    r"\bmoment\b(?!\")": "snapshot, instant, timestamp",
    r"\btraining rows?\b": "training example",
    r"\b(Event|Set|Window|Classifier)Rows\b": "EventExamples and so on",
    r"\b_?Asked\b(?= ?[(:|\]])": "QueriedUser",
}


def test_replaced_words_do_not_come_back() -> None:
    found = []
    for file in tracked():
        if file.suffix in {".py", ".md", ".j2"} and str(file) not in EXCEPT and file.parent != RECORDS:
            text = (ROOT / file).read_text(encoding="utf-8")
            found += [f"{file}: {word[0]!r} is {now}" for gone, now in GONE.items() for word in re.finditer(gone, text)]
    assert not found


def test_each_word_has_one_entry_and_readers_find_the_page() -> None:
    text = GLOSSARY.read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line.startswith("- ")]
    assert all(re.match(r"- \*\*[^*]+\*\*: \S", line) for line in entries)
    words = Counter(word.strip() for found in re.findall(r"\*\*([^*]+)\*\*", text) for word in found.split(","))
    assert not [word for word, count in words.items() if count > 1]
    assert "docs/GLOSSARY.md" in (ROOT / "README.md").read_text(encoding="utf-8")

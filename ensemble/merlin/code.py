"""The code that goes into a repository of the layout `merlin`: what its pickled operators import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ensemble
import runtime
import workflows

__all__ = ["sources"]


def sources() -> Iterator[tuple[Path, Path]]:
    """Each file with its path under lib/: the packages `runtime` and `workflows`, and this one."""
    for package, part in ((runtime, ""), (workflows, ""), (ensemble, "merlin")):
        root = Path(str(package.__file__)).parent
        for path in sorted({root / "__init__.py", *(root / part).rglob("*.py")}):
            yield path, Path(package.__name__) / path.relative_to(root)

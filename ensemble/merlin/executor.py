"""Merlin's executor with a memo."""

from __future__ import annotations

from typing import Any

from merlin.dag import Node
from merlin.dag.executors import LocalExecutor

__all__ = ["MemoExecutor"]


class MemoExecutor(LocalExecutor):
    """Merlin's executor with a memo: a node that several others read runs once. One object a transform."""

    def __init__(self) -> None:
        super().__init__()
        self._memo: dict[int, Any] = {}

    def _execute_node(self, node: Node, *args: Any, **kwargs: Any) -> Any:
        if id(node) not in self._memo:
            self._memo[id(node)] = super()._execute_node(node, *args, **kwargs)
        return self._memo[id(node)]

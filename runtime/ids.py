"""Raw ids -> catalogue or user rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadRequest

__all__ = ["NO_ITEM", "UNKNOWN", "IdMap"]

NO_ITEM, UNKNOWN = -1, -2


class IdMap:
    """Rows of raw ids, by binary search in the sorted ids.

    Args:
        ids: ascending distinct raw ids, int64 or fixed-width UTF-8 bytes; may be memory-mapped.
        padded: whether they stand in lists, which -1 fills up; a user may be called -1.
    """

    def __init__(self, ids: NDArray, *, padded: bool) -> None:
        self.ids = ids
        self._width = ids.dtype.itemsize
        self._is_text = ids.dtype.kind == "S"
        self._is_padded = padded
        # Ids without a gap are their rows but for the first one.
        self._is_range = not self._is_text and 0 < len(ids) == int(ids[-1]) - int(ids[0]) + 1

    def rows(self, name: str, values: NDArray) -> NDArray[np.int32]:
        """Look ids up.

        Args:
            name: the request's input, for error sentences.
            values: int64 or objects (bytes or str), any shape.

        Returns:
            int32 of the same shape: the row, UNKNOWN (-2), or NO_ITEM (-1) for padding: "", and -1 in padded lists.

        Raises:
            BadRequest: a string id holds a null byte or is not UTF-8.
        """
        flat = values.reshape(-1)
        rows = self._text_rows(name, flat) if self._is_text else self._int_rows(flat)
        return rows.reshape(values.shape)

    def _int_rows(self, values: NDArray) -> NDArray[np.int32]:
        rows = self._offset(values) if self._is_range else self._search(values)
        if self._is_padded:
            rows[values == -1] = NO_ITEM
        return rows

    def _offset(self, values: NDArray) -> NDArray[np.int32]:
        first, last = self.ids[0], self.ids[-1]
        # Narrower integers than the ids would wrap around.
        offsets = values.astype(np.int64, copy=False) - first
        return np.where((values >= first) & (values <= last), offsets, UNKNOWN).astype(np.int32)

    def _text_rows(self, name: str, values: NDArray) -> NDArray[np.int32]:
        texts = [as_bytes(value) for value in values.tolist()]
        if b"\0" in b"".join(texts):
            raise BadRequest(f"{name} holds an id with a null byte; ids are UTF-8 text without null bytes")
        # An id longer than every known one is unknown; cutting it to the width could match another.
        fitting = [text if len(text) <= self._width else b"" for text in texts]
        rows = self._search(np.array(fitting, self.ids.dtype))
        unknown = rows == UNKNOWN
        if unknown.any():
            _check_utf8(name, [text for text, bad in zip(texts, unknown.tolist(), strict=True) if bad])
            rows[np.fromiter((not text for text in texts), bool, len(texts))] = NO_ITEM
        return rows

    def _search(self, values: NDArray) -> NDArray[np.int32]:
        if not len(self.ids):
            return np.full(len(values), UNKNOWN, np.int32)
        at = self.ids.searchsorted(values)
        is_known = self.ids.take(at, mode="clip") == values
        rows = at.astype(np.int32)
        if not is_known.all():
            rows[~is_known] = UNKNOWN
        return rows


def as_bytes(value: object) -> bytes:
    """UTF-8 bytes of a str or bytes."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def _check_utf8(name: str, texts: list[bytes]) -> None:
    try:
        # The separator keeps two halves of one character from joining.
        b" ".join(texts).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"{name} holds an id that is not UTF-8 text") from None

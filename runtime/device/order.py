"""The order of slates on a device: the best of all users' candidates in one call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.device.device import Device
from runtime.ids import NO_ITEM
from runtime.steps.order import Order

__all__ = ["DeviceOrder"]

# The kernel that sorts has nothing to do with embeddings: any shape will do.
ANY_SHAPE = (8, 256, False)


class DeviceOrder(Order):
    """The last step, which sorts on the device.

    Attributes:
        device: what computes; set before `open`.
    """

    device: Device

    def _sorted(self, rows: NDArray, scores: NDArray, size: int) -> NDArray[np.int64]:
        device, kernels = self.device, self.device.kernels(*ANY_SHAPE)
        values = np.where(rows == NO_ITEM, np.float32(-np.inf), scores).astype(np.float32)
        places = kernels.best(device.put(values), size, device.put(np.maximum(rows, 0), np.int32))
        best: NDArray[np.int64] = device.to_host(places).astype(np.int64)
        # Behind the last candidate any padding will do.
        return np.where(best < 0, np.argmax(rows == NO_ITEM, axis=1)[:, None], best)

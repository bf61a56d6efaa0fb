"""A Triton model with the signature of `cascade` and an arithmetic in place of the chain.

The slate of user u is u*1000, u*1000+1, ... without the excluded ones; recent items come first, in their order;
the score of position s is 1/(s+1), plus the request's `hour`. Users below 0 are unknown.
"""

import json

import numpy as np
import triton_python_backend_utils as pb_utils

MAX_SLATE_SIZE = 50


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        types = {entry["name"]: entry["data_type"] for entry in config["input"]}
        self.strings = types["user_id"] == "TYPE_STRING"

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            return pb_utils.InferenceResponse(self.outputs(self.read(request)))
        except ValueError as error:
            return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error)))

    def read(self, request):
        arrays = {}
        for tensor in request.inputs():
            array = tensor.as_numpy()
            if array.dtype == object:
                array = np.array([[int(cell or b"-1") for cell in row] for row in array]).reshape(array.shape)
            arrays[tensor.name()] = array
        return arrays

    def outputs(self, arrays):
        users = arrays["user_id"][:, 0]
        size = int(arrays["slate_size"].max()) if "slate_size" in arrays else 10
        if not 1 <= size <= MAX_SLATE_SIZE:
            raise ValueError(
                f"slate_size must be between 1 and {MAX_SLATE_SIZE}, got {size}\n\nAt:\n  /models/x.py(3): f"
            )
        items = np.full((len(users), size), -1, np.int64)
        scores = np.zeros((len(users), size), np.float32)
        num_items = np.zeros((len(users), 1), np.int32)
        paths = np.empty((len(users), 1), object)
        for row, user in enumerate(users):
            slate = self.slate(arrays, row, int(user), size)
            items[row, : len(slate)] = slate
            scores[row, : len(slate)] = 1 / (1 + np.arange(len(slate))) + self.hour(arrays, row)
            num_items[row] = len(slate)
            paths[row] = b"known_user" if user >= 0 else b"popularity"
        if self.strings:
            items = np.where(items < 0, "", items.astype(str)).astype("S").astype(object)
        named = {"item_id": items, "score": scores, "num_items": num_items, "path": paths}
        return [pb_utils.Tensor(name, array) for name, array in named.items()]

    def slate(self, arrays, row, user, size):
        recent = arrays["recent_item_ids"][row].tolist() if "recent_item_ids" in arrays else []
        excluded = set(arrays["exclude_item_ids"][row].tolist()) if "exclude_item_ids" in arrays else set()
        wanted = [item for item in recent if item >= 0] + [user * 1000 + rank for rank in range(MAX_SLATE_SIZE)]
        return [item for item in wanted if item not in excluded][:size]

    def hour(self, arrays, row):
        return float(arrays["hour"][row, 0]) if "hour" in arrays else 0.0

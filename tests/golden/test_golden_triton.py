"""A chain of the first format is written as a model repository by this release, and served as it was recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ensemble.export.layouts import Names, write_layout
from runtime.chain import Chain
from runtime.steps.rank import RANKING_STEP
from tests.golden.chains import answers

pytestmark = [pytest.mark.triton, pytest.mark.slow]

FIRST = Path(__file__).parent / "format_1"


@pytest.mark.parametrize(("variant", "layout"), [("exact", "fused"), ("gathered", "ensemble")])
def test_a_chain_of_the_first_format_is_served_in_both_layouts(tmp_path, variant, layout):
    import tritonclient.grpc as grpc

    from ensemble.serving.triton import TritonServer

    folder = shutil.copytree(FIRST / variant / "chain", tmp_path / "chain")  # what is exported is linked
    chain = Chain.load(folder)
    write_layout(folder, chain.plan, tmp_path / "repository", layout, Names())
    kinds = {tensor.name: tensor.dtype for tensor in chain.spec.request}
    with (
        TritonServer(tmp_path / "repository") as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
    ):
        for request, recorded in answers(FIRST / variant):
            inputs = [grpc.InferInput(name, list(values.shape), kinds[name]) for name, values in request.items()]
            for tensor, values in zip(inputs, request.values(), strict=True):
                tensor.set_data_from_numpy(values)
            answer = client.infer("cascade", inputs)
            for name in ("item_id", "num_items", "path"):
                assert answer.as_numpy(name).tolist() == recorded[name].tolist()
            np.testing.assert_allclose(answer.as_numpy("score"), recorded["score"], rtol=0, atol=RANKING_STEP)

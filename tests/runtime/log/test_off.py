"""A server without a log loads nothing of it, and its answers are the same as with one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from runtime.log.folder import LogSettings
from tests.golden.chains import answers
from tests.runtime.log.made import GOLDEN, Process, Request

PROGRAM = "import sys, runtime.triton; print([name for name in sys.modules if name.startswith('runtime.log')])"


def test_a_model_imports_no_log():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_answers_are_the_same_bits_with_a_log(tmp_path):
    process = Process(LogSettings(tmp_path, 1.0))
    for number, (request, _) in enumerate(answers(GOLDEN / "exact")):
        (logged,) = process.answer([Request(str(number))], [request])
        plain = process.chain.recommend(request)
        assert logged.keys() == plain.keys()
        for name, array in plain.items():
            width = logged[name].shape[1]
            assert np.ascontiguousarray(array[:, :width]).tobytes() == np.ascontiguousarray(logged[name]).tobytes() or (
                array.dtype == object and array.tolist() == logged[name].tolist()
            )
    process.close()

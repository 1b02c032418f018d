"""The profiler's C interface is bound by hand: a new LiteRT may break it, and this says so."""

from pathlib import Path

import pytest

from mobilevit_core.bundle.bundle import Bundle
from tests.benchmarks.operator_profile import places, profile, table

pytest.importorskip("ai_edge_litert")


def test_times_of_every_operator(shipped: Bundle) -> None:
    path = shipped.weights("float32")
    operators, whole = profile({"file": path}, runs=3, threads=1)["file"]
    kinds = {operator.kind.split(" (")[0] for operator in operators}
    assert {"Fully Connected", "Convolution", "Batch Matrix Multiply", "Softmax", "Sigmoid"} <= kinds
    assert 0 < sum(operator.ms for operator in operators) <= whole * 1.1
    products = [operator for operator in operators if operator.kind.startswith("Batch Matrix Multiply")]
    assert len(products) == len(places(path)[("Batch Matrix Multiply",)])
    assert products[0].place.endswith("4 x 4 x 144 x 144")
    assert f"{len(operators)}" in table(operators, whole)


def test_what_litert_refuses_is_named(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"no model")
    with pytest.raises(RuntimeError, match="LiteRtCreateModelFromFile answers with status"):
        profile({"file": damaged}, runs=1, threads=1)

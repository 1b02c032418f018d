"""What the browser makes of photos' features, against Python: the classifier, and the files with it."""

import base64
import functools
import io
import json
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.golden import drawn
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.bundle.tflite_file import unpack
from mobilevit_core.bundle.weight_formats import tflite_formats
from mobilevit_core.conversion.graft import Head, graft
from mobilevit_core.conversion.packing import run
from mobilevit_core.training import linear_probe
from mobilevit_core.training.transfer import GENERAL_FOLDER
from tests.demo.looking import NEEDS_LITERT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, NEEDS_LITERT]

CLASSES = (2, 5, 100)
SAME = 1e-6  # largest difference of a probability
EXACT = 1e-9  # of a classifier's numbers, relative to the largest
SETUP = """async () => {
  const [tools, archive, learn, engine] = await Promise.all(
    ["device/graft.js", "device/archive.js", "page/learn.js", "device/engine.js"]
      .map((name) => import(new URL(name, document.baseURI))));
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const text = async (blob) => {
    const parts = [], all = new Uint8Array(await blob.arrayBuffer());
    const step = 32768;
    for (let at = 0; at < all.length; at += step) {
      parts.push(String.fromCharCode(...all.subarray(at, at + step)));
    }
    return btoa(parts.join(""));
  };
  const rowsOf = (all, width) => (
    Array.from({ length: all.length / width }, (_, row) => all.slice(row * width, (row + 1) * width)));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const opened = new engine.Engine(new URL("trunk/", document.baseURI));
  const headOf = ({ kernel, bias, features }) => {
    const all = floats(features), width = floats(kernel).length / floats(bias).length;
    return { kernel: floats(kernel), bias: floats(bias), features: rowsOf(all, width) };
  };
  Object.assign(window, { tools, archive, learn, opened, bytes, text, rowsOf, floats, headOf });
}"""
GRAFT = """async ([format, head]) => {
  const { metadata } = await opened.manifest();
  const file = tools.graft(await opened.content(format), format, headOf(head), bytes(metadata));
  return text(archive.zipped({ "labels.txt": "one\\nzwei" }, file));
}"""
REFUSE = """async ([format, head, places]) => {
  const whole = await opened.content(format), said = new Set();
  const attempt = (trunk) => {
    try { tools.graft(trunk, format, headOf(head), new Uint8Array(1)); return "written"; }
    catch (error) { return error.message; }
  };
  const damaged = [whole.slice(0, 1000), new Uint8Array(64), new TextEncoder().encode("<html>".repeat(99))];
  for (const place of places) {
    const one = whole.slice();
    one.set([255, 255, 255, 127], place);
    damaged.push(one);
  }
  for (const trunk of damaged) said.add(attempt(trunk));
  return [...said];
}"""
LEARN = """([features, width, labels, classes]) => {
  const rows = rowsOf(floats(features), width);
  const fitted = learn.SHRINKAGES.map((shrinkage) => (
    learn.fit(rows, labels, classes, { shrinkage, scale: 1 })));
  const { parts } = learn.foldsOf(labels, classes);
  const plain = ({ kernel, bias }) => [[...kernel], [...bias]];
  return learn.crossValidate(rows, labels, classes).then((found) => {
    const rule = learn.rejection(found.answers.slice(0, 20), 2);
    return { ...found, fitted: fitted.map(plain), parts, rule };
  });
}"""


@pytest.fixture(scope="module")
def page(browser: "Browser", served: str) -> "Iterator[Page]":
    page = browser.new_page(bypass_csp=True, service_workers="block")
    page.route("**/page/main.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto(served)  # its import map and policy; nothing of the page itself starts
    page.evaluate(SETUP)
    yield page
    page.close()


@functools.cache
def general() -> Bundle:
    return open_bundle(GENERAL_FOLDER)


@functools.cache
def pictures() -> np.ndarray:
    return np.stack([drawn(seed, general().manifest.rule.image_size) for seed in range(6)])


@functools.cache
def head_of(classes: int) -> Head:
    """A head for so many classes, as decided as a fitted one."""
    features = run(general().trunk("float32"), pictures())
    random = np.random.default_rng(classes)
    kernel = random.normal(size=(features.shape[1], classes))
    kernel *= 3 / (features @ kernel).std()
    bias = random.normal(size=classes) - (features @ kernel).mean(axis=0)
    return Head(kernel.astype(np.float32), bias.astype(np.float32), features)


def as_text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, np.float32).tobytes()).decode()


def sent(head: Head) -> dict[str, str]:
    return {
        "kernel": as_text(head.kernel.T),
        "bias": as_text(head.bias),
        "features": as_text(head.features),
    }


def classifier_of(content: bytes) -> list[Any]:
    """What the new operators read: versions, types, scales and the very numbers."""
    model = unpack(content)
    graph = model.subgraphs[0]
    rows = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        read = [graph.tensors[index] for index in operator.inputs]
        rows.append((max(code.builtinCode, code.deprecatedBuiltinCode), code.version, read))
    kinds = [kind for kind, _, _ in rows]
    (start,) = [place for place, kind in enumerate(kinds) if kind == schema.BuiltinOperator.SOFTMAX][-1:]
    last = rows[start - 5 :]
    return [(kind, version, [_described(model, tensor) for tensor in read]) for kind, version, read in last]


def _described(model: schema.ModelT, tensor: schema.TensorT) -> tuple[Any, ...]:
    data, found = model.buffers[tensor.buffer].data, tensor.quantization
    scales = (
        found is not None and found.scale is not None and (found.scale.tolist(), found.zeroPoint.tolist())
    )
    return tensor.name, tensor.type, tensor.shape.tolist(), b"" if data is None else bytes(data), scales


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("name", tflite_formats())
def test_the_browser_writes_the_file_that_python_writes(page: "Page", name: str, classes: int) -> None:
    head = head_of(classes)
    content = base64.b64decode(page.evaluate(GRAFT, [name, sent(head)]))
    expected = graft(general().trunk(name), name, head)
    assert classifier_of(content) == classifier_of(expected)
    assert np.abs(run(content, pictures()) - run(expected, pictures())).max() <= SAME
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None and archive.read("labels.txt") == b"one\nzwei"


def test_litert_in_the_browser_opens_what_was_written(page: "Page") -> None:
    """Trunk and file answer alike: softmax of the head on the trunk's features is what the file says."""
    head = head_of(5)
    script = """async ([head]) => {
      await opened.load("float16");
      const { metadata } = await opened.manifest();
      const file = tools.graft(await opened.content("float16"), "float16", headOf(head), bytes(metadata));
      const answers = await opened.answersTo(file, [0, 1, 2]), own = headOf(head);
      const expected = [];
      for (const seed of [0, 1, 2]) {
        expected.push(learn.softmax(tools.logits(own, await opened.ofDrawn(seed))));
      }
      return [answers.map((row) => [...row]), expected];
    }"""
    answers, expected = page.evaluate(script, [sent(head)])
    assert np.abs(np.array(answers) - np.array(expected)).max() < 0.01  # its kernel has 11 bits
    assert np.abs(np.array(expected) - head.probabilities(head.features[:3])).max() < 0.02


def test_a_damaged_trunk_is_refused(page: "Page") -> None:
    """Nothing is written onto what is no trunk, and what arrives damaged is not used at all."""
    file = general().trunk("dynamic_int8")
    (root,) = np.frombuffer(file[:4], np.uint32)
    places = [0, 4, int(root), int(root) - 4]
    said = page.evaluate(REFUSE, ["dynamic_int8", sent(head_of(2)), places])
    assert said == ["the network's file is damaged; reload the page"]
    other = Head(head_of(2).kernel[:100], head_of(2).bias, head_of(2).features[:, :100])
    said = page.evaluate(REFUSE, ["dynamic_int8", sent(other), []])
    assert said == ["the network's file is damaged; reload the page"]
    page.route("**/trunk_int8.tflite*", lambda route: route.fulfill(body=general().trunk("int8")[:-1] + b"x"))
    problem = page.evaluate("() => opened.content('int8').catch((error) => error.message)")
    page.unroute("**/trunk_int8.tflite*")
    assert problem.startswith("trunk_int8.tflite arrived damaged: its checksum is another one")


def test_the_classifier_is_pythons(page: "Page") -> None:
    """Every strength, the strength that is chosen on the same folds, and the threshold."""
    random = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [8, 12, 40])
    centres = random.normal(size=(3, 64)) * 0.6
    features = (np.abs(centres[labels] + random.normal(size=(60, 64))) * 2).astype(np.float32)
    found = page.evaluate(LEARN, [as_text(features), 64, labels.tolist(), 3])
    for (kernel, bias), (own, own_bias) in zip(
        linear_probe._solutions(features.astype(np.float64), labels, True), found["fitted"], strict=True
    ):
        assert np.abs(np.reshape(own, (3, 64)).T - kernel).max() <= EXACT * np.abs(kernel).max()
        assert np.abs(own_bias - bias).max() <= EXACT * np.abs(bias).max()
    parts = np.array(found["parts"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_probe, "folds_of", lambda *_: parts)
        kernel, _, shrinkage = linear_probe.fit(features, labels, np.arange(60), parts.max() + 1, 0, True)
    place = linear_probe.SHRINKAGES.index(found["shrinkage"])
    assert shrinkage == found["shrinkage"]
    own = np.reshape(found["fitted"][place][0], (3, 64)).T * found["scale"]
    assert np.abs(own - kernel).max() <= EXACT * np.abs(kernel).max()
    rule = RejectionRule.fit(np.array(found["answers"])[:20], 2)
    assert found["rule"]["threshold"] == pytest.approx(rule.threshold, abs=1e-12)
    assert found["rule"]["false_rejection_rate"] == rule.false_rejection_rate
    assert found["rule"]["photos"] == rule.photos


def test_the_everyday_photos_belong_to_the_trunk(page: "Page") -> None:
    """Their numbers are read as Python wrote them, and are of the weights that the page has."""
    everyday = page.evaluate("async () => (await fetch('trunk/everyday.json')).json()")
    described = page.evaluate("() => opened.manifest()")
    assert everyday["weights_sha256"] == described["weights_sha256"]
    assert everyday["weights_sha256"] == general().manifest.files["keras"].sha256
    vectors = np.frombuffer(base64.b64decode(everyday["vectors"]), np.uint8).reshape(-1, everyday["features"])
    assert len(vectors) == len(everyday["photos"]) == 200
    assert json.dumps(described["files"]) == json.dumps(
        {name: vars(entry) for name, entry in general().manifest.trunk.items()}
    )

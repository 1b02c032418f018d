"""Only uploads are opened, and whatever else a stranger sends is answered in one sentence."""

import base64
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from demo import uploads
from mobilevit_core.errors import UserError
from tests.demo.visitor import FILE, Visitor


def index_of(visitor: Visitor, label: str) -> int:
    """Number of the private handler that takes a component with this label."""
    config = visitor.get("config").json()
    ids = [split["id"] for split in config["components"] if split["props"].get("label", "").startswith(label)]
    private = [
        row for row in config["dependencies"] if row["api_visibility"] == "private" and row["backend_fn"]
    ]
    return next(row["id"] for row in private if set(row["inputs"]) & set(ids))


def forged(photo: Path) -> list[Any]:
    """References to what nobody uploaded."""
    folder = get_upload_folder()
    paths = [
        str(photo),
        f"file://{photo}",
        f"{folder}/../{photo.name}",
        f"{folder}/../../{photo}",
        "/dev/zero",
        "/proc/self/environ",
        "/none/of/these.jpg",
        "../../../../etc/hostname",
        folder,
        "",
        "\0",
        "a" * 5000,
        "http://127.0.0.1:1/photo.jpg",
        "https://example.org/photo.jpg",
        f"http://localhost/gradio_api/file={photo}",
    ]
    references: list[Any] = [{"path": path, **meta} for path in paths for meta in ({}, {"meta": FILE})]
    references += [{"path": None, "url": "https://example.org/a.jpg"}, {"url": f"file://{photo}"}]
    references += [{"path": None, "url": "data:image/png;base64,%%%"}, {"path": {"path": str(photo)}}]
    return [*references, {}, [], [str(photo)], 7, True, str(photo)]


def test_no_function_opens_a_file_that_was_not_uploaded(
    visitor: Visitor, photo_folder: Path, tmp_path: Path
) -> None:
    photo = photo_folder / "red" / "00.jpg"
    for reference in forged(photo):
        for function in ("classify", "explain"):
            assert visitor.call(function, reference) == uploads.REFUSED, reference
    refused = {uploads.REFUSED, "Photographs, at most 500 must be a list of uploaded files."}
    one, many = index_of(visitor, "Photograph"), index_of(visitor, "Photographs, at most")
    look = index_of(visitor, "Show what it looked at")
    for reference in forged(photo):
        assert visitor.handler(one, reference, 5, ["float32"]) == uploads.REFUSED
        assert visitor.handler(look, reference, True) == uploads.REFUSED
        assert visitor.handler(many, [reference], "float32") == uploads.REFUSED
        if not isinstance(reference, list):
            assert visitor.handler(many, reference, "float32") in refused


def test_links_and_pipes_in_the_upload_folder_are_refused(photo_folder: Path) -> None:
    folder = uploads.use_own_folder()
    link, pipe, outside = folder / "link.jpg", folder / "pipe.jpg", folder / "elsewhere"
    link.symlink_to(photo_folder / "red" / "00.jpg")
    outside.symlink_to(photo_folder / "red")
    os.mkfifo(pipe)
    try:
        for path in (link, pipe, outside / "00.jpg", outside, folder):
            with pytest.raises(UserError, match="not an uploaded photograph"):
                uploads.admit({"path": str(path)})
    finally:
        for path in (link, pipe, outside):
            path.unlink()


def test_an_upload_is_answered_however_it_is_named(visitor: Visitor, photo_folder: Path, served: str) -> None:
    photo = photo_folder / "red" / "00.jpg"
    sent = visitor.upload(photo)
    address = f"{served}gradio_api/file={sent['path']}"
    inside = f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    references = [
        sent,
        {"path": sent["path"]},
        {"path": address, "meta": FILE},
        {"path": None, "url": inside},
    ]
    answers = [visitor.call("classify", reference, 1, ["float32"]) for reference in references]
    scores = [answer[0]["float32"]["predictions"] for answer in answers]
    assert all(row == scores[0] for row in scores) and len(scores[0]) == 5


def test_arguments_are_optional_over_plain_http(visitor: Visitor, photo_folder: Path) -> None:
    photo = visitor.upload(photo_folder / "red" / "00.jpg")
    (everything,) = visitor.call("classify", photo)
    (again,) = visitor.call("classify", photo, None, None)
    assert set(everything) == set(again) and len(everything) > 1
    assert everything["float32"]["latency_ms"]["runs"] == 20
    parameters = visitor.get("gradio_api/info").json()["named_endpoints"]["/classify"]["parameters"]
    optional = {row["parameter_name"] for row in parameters if row["parameter_has_default"]}
    assert {"runs", "weights"} <= optional
    assert "http" not in str(parameters[0]["example_input"])  # no URL is fetched
    assert "URL" not in parameters[0]["python_type"]["description"]
    event = visitor.post("gradio_api/call/v2/classify", json={"photo": photo}).json()["event_id"]
    assert "event: complete" in visitor.get(f"gradio_api/call/v2/classify/{event}").text


RUNS = "runs must be a whole number from 1 to 100."
WRONG = [
    (("many",), RUNS),
    ((float("nan"),), RUNS),
    ((float("inf"),), RUNS),
    ((2.5,), RUNS),
    ((0,), RUNS),
    ((10**400,), RUNS),
    ((True,), RUNS),
    (([3],), RUNS),
    ((1, "float32"), "weights must be a list of names."),
    ((1, ["onnx"]), "weights must be chosen from: "),
    ((1, [["float32"]]), "weights must be chosen from: "),
    ((1, {"path": "/etc/hostname", "meta": FILE}), "weights must be a list of names."),
    ((1, [], 4), "classify takes at most 3 values; these are 4."),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_argument_is_named(
    visitor: Visitor, photo_folder: Path, arguments: tuple[Any, ...], sentence: str
) -> None:
    told = visitor.call("classify", visitor.upload(photo_folder / "red" / "00.jpg"), *arguments)
    assert isinstance(told, str) and told.startswith(sentence) and len(told) < 200


def test_a_missing_photograph_and_a_missing_function_are_told(visitor: Visitor) -> None:
    for function in ("classify", "explain"):
        assert "no photograph yet" in visitor.call(function)
    assert "There is no such function" in visitor.call("guess")
    assert "There is no such function" in visitor.post("gradio_api/call/v2/guess", json={}).text
    told = visitor.post("gradio_api/call/v2/classify", json={"picture": 1})
    assert told.status_code == 422 and "missing or unknown" in told.text
    assert "Field required" in visitor.post("gradio_api/call/classify", json={}).text
    # Nobody goes round the queue.
    assert visitor.post("gradio_api/run/classify", json={"data": []}).status_code == 404


def test_the_gallery_needs_a_picture_that_is_there(visitor: Visitor) -> None:
    config = visitor.get("config").json()
    gallery = next(split["id"] for split in config["components"] if split["type"] == "gallery")
    index = next(row["id"] for row in config["dependencies"] if row["targets"] == [[gallery, "select"]])
    wrong = [{"url": "/examples/none.jpg"}, {"url": "/etc/hostname"}, {"url": 1}, {}, "a", None]
    for data in [{}, *({"index": 0, "value": {"image": image}} for image in wrong)]:
        body = {"fn_index": index, "data": [], "session_hash": "gallery", "event_data": data}
        answer = visitor.post("gradio_api/run/predict", json=body)
        assert answer.status_code == 500 and answer.json()["error"] and "/" not in answer.json()["error"]
    body["event_data"] = {"index": 0, "value": {"image": {"url": "http://localhost/examples/flower.jpg"}}}
    (chosen,) = visitor.post("gradio_api/run/predict", json=body).json()["data"]
    assert visitor.call("classify", chosen, 1, ["float32"])[0]["float32"]["predictions"]


def test_no_path_of_the_server_is_told(visitor: Visitor, tmp_path: Path) -> None:
    page = "".join(visitor.get(place).text for place in ("", "config", "gradio_api/info"))
    here = {
        str(Path(__file__).parents[2]),
        str(Path.home()),
        get_upload_folder(),
        os.path.dirname(Image.__file__),
    }
    assert not [path for path in here if f"{path}/" in page]
    text = tmp_path / "holiday.jpg"
    text.write_text("no photograph")
    told = visitor.call("classify", visitor.upload(text))
    assert "is not a JPEG" in told and get_upload_folder() not in told


def test_one_bad_file_among_many_is_a_row(visitor: Visitor, photo_folder: Path) -> None:
    good = [visitor.upload(photo_folder / "red" / f"0{number}.jpg") for number in range(2)]
    bad = [visitor.upload_bytes("notes.txt", b"no photograph"), visitor.upload_bytes("empty.png", b"")]
    note, table, download = visitor.handler(
        index_of(visitor, "Photographs, at most"), [good[0], *bad, good[1]], "float32"
    )
    assert note.startswith("2 of 4 photographs classified")
    assert [row[0] for row in table["data"]] == ["00.jpg", "notes.txt", "empty.png", "01.jpg"]
    assert all(row[-1] for row in table["data"][1:3])
    csv = Path(download["value"]["path"])
    assert csv.is_relative_to(get_upload_folder()) and csv.read_text().count("\n") == 5


def test_mcp_goes_through_the_same_gate(served: str, photo_folder: Path) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    photo = (photo_folder / "red" / "00.jpg").read_bytes()
    inside = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"

    async def ask() -> list[Any]:
        async with (
            streamable_http_client(f"{served}gradio_api/mcp/") as (read, write, *_),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            sources = [inside, "https://example.org/photo.jpg", "/etc/hostname"]
            arguments = [{"photo": source, "runs": 1, "weights": ["float32"]} for source in sources]
            return [names, *[await session.call_tool("classify", row) for row in arguments]]

    names, answered, *refused = anyio.run(ask)
    assert names == {"classify", "explain", "benchmark"}
    assert not answered.isError and "predictions" in answered.content[0].text
    assert uploads.REFUSED in refused[0].content[0].text
    assert all(answer.isError for answer in refused)

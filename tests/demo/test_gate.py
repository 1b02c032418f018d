"""Only uploads are opened, and whatever else a stranger sends is answered in one sentence."""

import base64
import os
import re
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo import gallery, uploads
from mobilevit_core.errors import UserError
from tests.demo.visitor import FILE, Visitor, run_apart


def forged(photo: Path) -> list[Any]:
    """References to what nobody uploaded."""
    folder = str(uploads.folder())
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
    visitor: Visitor, red_photo: Path, tmp_path: Path
) -> None:
    for reference in forged(red_photo):
        for function in ("classify", "compare", "explain"):
            assert visitor.call(function, reference) == uploads.REFUSED, reference


def test_links_and_pipes_in_the_upload_folder_are_refused(photo_folder: Path, red_photo: Path) -> None:
    folder = uploads.use_own_folder()
    link, pipe, outside = folder / "link.jpg", folder / "pipe.jpg", folder / "elsewhere"
    link.symlink_to(red_photo)
    outside.symlink_to(photo_folder / "red")
    os.mkfifo(pipe)
    try:
        for path in (link, pipe, outside / "00.jpg", outside, folder):
            with pytest.raises(UserError, match="not an uploaded photo"):
                uploads.admit({"path": str(path)})
    finally:
        for path in (link, pipe, outside):
            path.unlink()


def test_an_upload_is_answered_however_it_is_named(visitor: Visitor, red_photo: Path, served: str) -> None:
    sent = visitor.upload(red_photo)
    address = f"{served}gradio_api/file={sent['path']}"
    inside = f"data:image/jpeg;base64,{base64.b64encode(red_photo.read_bytes()).decode()}"
    references = [
        sent,
        {"path": sent["path"]},
        {"path": address, "meta": FILE},
        {"path": None, "url": inside},
    ]
    answers = [visitor.call("classify", reference) for reference in references]
    scores = [answer[0]["predictions"] for answer in answers]
    assert all(row == scores[0] for row in scores) and len(scores[0]) == 5


def test_arguments_are_optional_over_plain_http(visitor: Visitor, red_photo: Path) -> None:
    photo = visitor.upload(red_photo)
    (answer,) = visitor.call("classify", photo)
    assert visitor.call("classify", photo, None) == [answer] and answer["format"] == "float32"
    (everything,) = visitor.call("compare", photo)
    (again,) = visitor.call("compare", photo, None, None)
    assert set(everything) == set(again) and len(everything) > 1
    assert everything["float32"]["latency_ms"]["runs"] == 20
    endpoints = visitor.get("gradio_api/info").json()["named_endpoints"]
    for name, expected in {"/classify": {"format"}, "/compare": {"runs", "formats"}}.items():
        parameters = endpoints[name]["parameters"]
        assert expected <= {row["parameter_name"] for row in parameters if row["parameter_has_default"]}
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
    ((1, "float32"), "formats must be a list of names."),
    ((1, ["onnx"]), "formats must be chosen from: "),
    ((1, [["float32"]]), "formats must be chosen from: "),
    ((1, {"path": "/etc/hostname", "meta": FILE}), "formats must be a list of names."),
    ((1, [], 4), "compare takes at most 3 values; these are 4."),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_argument_is_named(
    visitor: Visitor, red_photo: Path, arguments: tuple[Any, ...], sentence: str
) -> None:
    told = visitor.call("compare", visitor.upload(red_photo), *arguments)
    assert isinstance(told, str) and told.startswith(sentence) and len(told) < 200


def test_a_missing_photo_and_a_missing_function_are_told(visitor: Visitor) -> None:
    for function in ("classify", "compare", "explain"):
        assert "no photo yet" in visitor.call(function)
    assert "There is no such function" in visitor.call("guess")
    assert "There is no such function" in visitor.post("gradio_api/call/v2/guess", json={}).text
    told = visitor.post("gradio_api/call/v2/classify", json={"picture": 1})
    assert told.status_code == 422 and "missing or unknown" in told.text
    assert "Field required" in visitor.post("gradio_api/call/classify", json={}).text
    # Nobody goes round the queue.
    assert visitor.post("gradio_api/run/classify", json={"data": []}).status_code == 404


def test_an_example_is_sent_wherever_its_package_lies(
    visitor: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the working folder nor in the temporary one: a route of its own, and then an upload."""
    site_packages = Path(sysconfig.get_path("purelib"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gallery, "present_examples", lambda _: [])
    listed = visitor.get("examples/index.json").json()
    assert [row["file"] for row in listed] == ["china.jpg", "flower.jpg"]
    assert {row["caption"] for row in listed} == {"Trick question: not one of the five"}
    assert (site_packages / "sklearn" / "datasets" / "images" / "flower.jpg").is_file()
    for row in listed:
        sent = visitor.get(f"examples/{row['file']}")
        assert sent.headers["content-type"] == "image/jpeg"
        (answer,) = visitor.call("classify", visitor.upload_bytes(row["file"], sent.content))
        assert answer["label"] in answer["scores"]
    for wrong in ("none.jpg", "..%2f..%2fetc%2fhostname", "%2fetc%2fhostname"):
        assert visitor.get(f"examples/{wrong}").status_code == 404


def test_no_path_of_the_server_is_told(visitor: Visitor, no_photo: Path) -> None:
    page = "".join(
        visitor.get(place).text
        for place in ("", "config", "gradio_api/info", "bundle/page.json", "examples/index.json")
    )
    here = {
        str(Path(__file__).parents[2]),
        str(Path.home()),
        str(uploads.folder()),
        os.path.dirname(Image.__file__),
    }
    assert not [path for path in here if f"{path}/" in page]
    told = visitor.call("classify", visitor.upload(no_photo))
    assert "is not a JPEG" in told and str(uploads.folder()) not in told


def test_mcp_goes_through_the_same_gate(served: str, red_photo: Path) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    photo = red_photo.read_bytes()
    inside = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"

    async def ask() -> list[Any]:
        async with (
            streamable_http_client(f"{served}gradio_api/mcp/") as (read, write, *_),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            sources = [inside, "https://example.org/photo.jpg", "/etc/hostname"]
            arguments = [{"photo": source} for source in sources]
            return [tools, *[await session.call_tool("classify", row) for row in arguments]]

    tools, answered, *refused = run_apart(ask)
    assert {tool.name for tool in tools} == {"classify", "compare", "explain", "benchmark"}
    described = next(tool.description for tool in tools if tool.name == "classify")
    assert "5 classes (dandelion, daisy, tulips, sunflowers, roses)" in described  # and its limits:
    assert "knows nothing else" in described
    for tool in tools:
        photo_schema = tool.inputSchema["properties"].get("photo")
        assert (
            tool.name == "benchmark"
            or "Addresses of photos elsewhere are refused" in photo_schema["description"]
        )
    assert not answered.isError and "predictions" in answered.content[0].text
    assert uploads.REFUSED in refused[0].content[0].text
    assert all(answer.isError for answer in refused)


def test_a_link_to_the_page_has_a_title_a_line_and_a_picture(visitor: Visitor) -> None:
    head = visitor.get("", headers={"accept-encoding": "gzip, br"}).text.partition("</head>")[0]
    found = dict(re.findall(r'<meta (?:property|name)="([a-z:]+)" content="([^"]*)">', head))
    assert found["og:title"] == "Name that flower" and found["og:description"].startswith("Knows five")
    assert head.count('"og:title"') == 1
    picture = visitor.get(found["og:image"].lstrip("/"))
    assert picture.headers["content-type"] == "image/png" and len(picture.content) < 300_000

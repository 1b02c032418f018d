"""The page on machines with a proxy, and on IPv6."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import httpx
import pytest

from demo.reach import directly, in_brackets
from tests.demo.visitor import free_port

ROOT = Path(__file__).parents[2]
NOBODY = "127.0.0.1:9"  # where nothing listens


def first_words(options: list[str], **environment: str) -> str:
    """What app.py says until it runs or gives up."""
    command = [sys.executable, "-u", "app.py", "--port", str(free_port()), *options]
    program = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = ""
    try:
        for line in program.stdout:
            said += line
            if "Running on local URL" in line:
                address = line.split()[-1].replace("[::]", "[::1]")
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                said += f"answers {opener.open(address, timeout=60).status}"
                break
    finally:
        program.send_signal(signal.SIGTERM)
        said += program.communicate()[0]
    return said


@pytest.mark.parametrize(
    ("host", "environment"),
    [
        ("::1", {"http_proxy": f"http://{NOBODY}", "https_proxy": f"http://{NOBODY}"}),
        ("::", {"ALL_PROXY": f"socks5://{NOBODY}", "all_proxy": f"socks5://{NOBODY}"}),
    ],
    ids=["http", "socks"],
)
def test_the_page_listens_on_ipv6_and_a_proxy_does_no_harm(
    host: str, environment: dict[str, str], quick_start: list[str]
) -> None:
    at = ["--host", host] if socket.has_ipv6 else []
    said = first_words([*quick_start, *at], **environment)
    assert "answers 200" in said and "Traceback" not in said


def test_addresses_are_as_urls_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [in_brackets(host) for host in ("::1", "::", "[::1]", "0.0.0.0", "localhost")] == [
        "[::1]",
        "[::]",
        "[::1]",
        "0.0.0.0",
        "localhost",
    ]
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert in_brackets(None) is None
    monkeypatch.setenv("GRADIO_SERVER_NAME", "::1")
    assert in_brackets(None) == "[::1]"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        Exception("Couldn't start the app because 'http://localhost/' failed (code 503). Check your network"),
    ],
)
def test_a_page_that_can_not_ask_itself_says_so(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(OSError, match="the page does not answer on this machine"), directly():
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "*"
        raise error
    assert os.environ["no_proxy"] == "example.org" and "NO_PROXY" not in os.environ
    with pytest.raises(RuntimeError, match="a fault"), directly():
        raise RuntimeError("a fault")

"""How the page reaches itself: Gradio asks its own server once it has started, by HTTP.

app.py imports Gradio and starts the page inside of `directly`; what the page downloads comes between the two.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

NO_PROXY = ("no_proxy", "NO_PROXY")


@contextmanager
def directly() -> Iterator[None]:
    """Without the proxies of the environment: none is needed on this machine, and httpx can't use all kinds.

    Raises:
        OSError: the page can't be asked, in a sentence; Gradio's own errors are of many kinds.
    """
    before = {name: os.environ.get(name) for name in NO_PROXY}
    os.environ.update(dict.fromkeys(NO_PROXY, "*"))
    try:
        yield
    except httpx.HTTPError as error:
        raise OSError(f"the page does not answer on this machine ({type(error).__name__}).") from error
    except Exception as error:  # Gradio has no class of its own for this
        if "Couldn't start the app" not in str(error):
            raise
        raise OSError(f"the page does not answer on this machine. {error}") from error
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def in_brackets(host: str | None) -> str | None:
    """An address as a URL has it: IPv6 in brackets, which Gradio does not add."""
    host = host or os.environ.get("GRADIO_SERVER_NAME")
    return f"[{host}]" if host and ":" in host and not host.startswith("[") else host

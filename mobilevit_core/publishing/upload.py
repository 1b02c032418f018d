"""The upload: what can be refused is asked before the first byte, and a repository gets one commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilevit_core.errors import UserError
from mobilevit_core.publishing.targets import Target

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG_IN = "Run `hf auth login` with a token that may write, then this command again."
COMMIT = "Publish a MobileViT bundle"
PAID = 402
SENTENCES = {
    401: f"The Hub does not accept this machine's token. {LOG_IN}",
    PAID: "The Hub asks for a paid plan for this kind of repository. Static Spaces and models are free.",
    403: f"This token may not write there. {LOG_IN}",
    409: "The Hub says that somebody else changes the repository right now. Try again in a moment.",
    429: "The Hub asks for patience: too many requests. Try again in a few minutes.",
}


@dataclass(frozen=True)
class Place:
    """A repository that was looked at before anything is uploaded.

    Attributes:
        target: its kind.
        repository: OWNER/NAME.
        names: of the files in it; None where the repository is still to be made.
    """

    target: Target
    repository: str
    names: frozenset[str] | None


def open_hub() -> "HfApi":
    """The Hub with this machine's own login.

    Raises:
        UserError: nobody is logged in.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    if get_token() is None:
        raise UserError(f"Nobody is logged in to the Hugging Face Hub on this machine. {LOG_IN}")
    return HfApi(library_name="mobilevit")


def check_owner(api: "HfApi", repository: str) -> None:
    """Raises a UserError unless this login may write to repositories of that owner."""
    owner = repository.partition("/")[0]
    with telling("Nothing was uploaded."):
        account = api.whoami()
    name = account["name"]
    names = {name, *(group["name"] for group in account.get("orgs", ()))}
    if owner not in names:
        raise UserError(
            f"You are logged in as {name}, who can't publish as {owner}. Choose one of: "
            f"{', '.join(sorted(names))}."
        )
    if (account.get("auth") or {}).get("accessToken", {}).get("role") == "read":
        raise UserError(f"The token of {name} may only read. {LOG_IN}")


def look_at(api: "HfApi", target: Target, repository: str, private: bool) -> Place:
    """Finds out whether a repository is there, and whether it is one of ours.

    Raises:
        UserError: the name is taken by something else, or the Hub can't be asked.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    with telling("Nothing was uploaded."):
        try:
            info = api.repo_info(repository, repo_type=target.repo_type)
        except RepositoryNotFoundError:
            return Place(target, repository, None)
    names = frozenset(file.rfilename for file in info.siblings or ())
    address = target.address(api.endpoint, repository)
    if not target.is_ours(set(names), getattr(info, "sdk", None)):
        raise UserError(f"{address} is there already and is something else. Choose another name.")
    if private and not info.private:
        raise UserError(f"{address} is there already and is public. Make it private in its settings first.")
    return Place(target, repository, names)


def send(api: "HfApi", place: Place, folder: Path, private: bool, before: str) -> str:
    """Makes the repository if need be, and uploads a folder as one commit.

    Not `upload_folder`: that one may split a folder into several commits, and a reader could load a half.

    Args:
        api: of `open_hub`.
        place: of `look_at`.
        folder: everything in it is uploaded, and nothing else.
        private: whether a new repository is for its owner alone.
        before: a sentence on what was published before this, for messages.

    Returns:
        Where people find it.

    Raises:
        UserError: the Hub refuses, or can't be reached; what is there before stays as it is.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    target, repository = place.target, place.repository
    address = target.address(api.endpoint, repository)
    with telling(f"{address} was not made. {before}".strip()):
        if place.names is None:
            api.create_repo(repository, repo_type=target.repo_type, private=private, space_sdk=target.sdk)
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    gone = [name for name in sorted(place.names or ()) if name not in files and _is_own(name, target)]
    operations = [
        *(CommitOperationDelete(path_in_repo=name) for name in gone),
        *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()),
    ]
    state = "is as it was" if place.names is not None else "was made and is empty"
    with telling(f"{address} {state}; the same command goes on from there. {before}".strip()):
        api.create_commit(repository, operations, commit_message=COMMIT, repo_type=target.repo_type)
    return address


def _is_own(name: str, target: Target) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in target.own)


@contextmanager
def telling(state: str) -> Iterator[None]:
    """Tells what the Hub refused, or that it can't be reached, and how things are now.

    Args:
        state: a sentence on what is on the Hub.

    Raises:
        UserError: in place of huggingface_hub's own errors.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        yield
    except HfHubHTTPError as error:
        raise UserError(f"{_refusal(error)} {state}") from error
    except (HTTPError, OSError, RuntimeError) as error:  # the last: of hf_xet, which carries large files
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise UserError(f"The Hugging Face Hub can't be reached ({reason}). {state}") from error


def _refusal(error: Any) -> str:
    code = error.response.status_code if error.response is not None else None
    said = (error.server_message or "").strip().rstrip(".")
    sentence = SENTENCES.get(code, f"The Hub answered with {code}.")
    return f"{sentence} It said: {said}." if said else sentence

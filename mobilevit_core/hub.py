"""The Hugging Face Hub: how its repositories are named here, and its failures as sentences.

`huggingface_hub` does the work; it is imported on first use.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mobilevit_core.errors import UserError

PREFIX = "hf://"
MAIN = "main"  # the branch that is meant where no revision is named


@dataclass(frozen=True)
class Address:
    """A repository of the Hub, at one revision.

    Attributes:
        repository: OWNER/NAME.
        revision: branch, tag or commit.
    """

    repository: str
    revision: str = MAIN


def is_address(source: object) -> bool:
    """Whether this is written as a repository of the Hub, "hf://OWNER/NAME"."""
    return isinstance(source, str) and source.startswith(PREFIX)


def parse(source: str) -> Address:
    """Reads "hf://OWNER/NAME" or "hf://OWNER/NAME@REVISION".

    Raises:
        UserError: it is neither.
    """
    repository, _, revision = source.removeprefix(PREFIX).partition("@")
    check_name(repository, source)
    return Address(repository, revision or MAIN)


def check_name(repository: str, source: str | None = None) -> None:
    """Raises a UserError unless this is OWNER/NAME; `source` is what the message calls it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    problem = "it needs one slash"
    try:
        validate_repo_id(repository)
        if repository.count("/") == 1:
            return
    except HFValidationError as error:
        problem = str(error)
    raise UserError(f"{source or repository} is not OWNER/NAME: {problem.rstrip('.')}.") from None


@contextmanager
def downloading(address: Address, what: str, way_out: str) -> Iterator[None]:
    """Tells failures of a download as one sentence.

    Args:
        address: where from.
        what: is downloaded, for the sentence.
        way_out: a sentence for people without a network.

    Raises:
        UserError: the Hub can't be reached, or has no such repository, revision or file.
    """
    from huggingface_hub import errors
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # its retries would be told line by line
    repository, revision = address.repository, address.revision
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(f"{repository} is gated: request access on its page.") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"The Hugging Face Hub has no repository {repository}, or it is not public."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{repository} has no revision {revision}.") from error
    except errors.RemoteEntryNotFoundError as error:
        raise UserError(f"{repository} has no {what} at the revision {revision}.") from error
    except (errors.HTTPError, OSError) as error:  # the first is the base of httpx's errors
        raise UserError(
            f"{what} of {repository} could not be downloaded: the Hugging Face Hub can't be reached and the "
            f"file is not in the local cache. {way_out}"
        ) from error

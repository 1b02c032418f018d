"""Bundles from the Hugging Face Hub: `hf://OWNER/NAME` in place of a folder."""

import os
from pathlib import Path

from mobilevit_core import hub
from mobilevit_core.bundle.bundle import EXAMPLE_FILES, FILES, Bundle, open_bundle
from mobilevit_core.bundle.files import MANIFEST
from mobilevit_core.bundle.manifest import read_manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError

WAY_OUT = "Try again with a network, or give a bundle's folder."


def find_bundle(bundle: Bundle | str | os.PathLike[str]) -> Bundle:
    """Opens a bundle that is a folder here or a repository of the Hub; one that is open is returned.

    Args:
        bundle: an opened one, a folder, "hf://OWNER/NAME", or "hf://OWNER/NAME@REVISION" for a branch, tag
            or commit.

    Returns:
        The bundle; one of the Hub is in the local cache, which is not to be written to.

    Raises:
        UserError: there is no bundle, it is damaged, or it can't be downloaded.
    """
    if isinstance(bundle, Bundle):
        return bundle
    if not hub.is_address(bundle):
        return open_bundle(bundle)
    opened = open_bundle(download_bundle(str(bundle)))
    damaged = sorted(set(opened.present) - set(opened.intact))
    if damaged:
        raise UserError(
            f"{bundle} is damaged: checksum mismatch in "
            f"{', '.join(FORMATS[name].file for name in damaged)}. Download it again."
        )
    return opened


def download_bundle(source: str) -> Path:
    """The folder of a bundle in the local cache, with the newest files of the revision.

    Only the files of a bundle are downloaded, whatever else the repository holds.

    Args:
        source: "hf://OWNER/NAME" or "hf://OWNER/NAME@REVISION".

    Raises:
        UserError: as `find_bundle`.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    address = hub.parse(source)
    with hub.downloading(address, "the bundle", WAY_OUT):
        try:
            manifest = Path(hf_hub_download(address.repository, MANIFEST, revision=address.revision))
        except RemoteEntryNotFoundError:
            raise UserError(f"{source} is not a bundle: it has no {MANIFEST}.") from None
        read_manifest(manifest)  # before all the rest is fetched
        commit = manifest.parent.name  # a newer one may come while we look
        wanted = [*FILES, *EXAMPLE_FILES]
        return Path(snapshot_download(address.repository, revision=commit, allow_patterns=wanted))

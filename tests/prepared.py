"""Manifests in one call: files are listed, checked and written, as `spin-fairseq prepare` does it."""

from spin_fairseq.preparation.manifests import (
    check,
    list_folders,
    list_librispeech,
    write_folders,
    write_librispeech,
)


def prepare_librispeech(root, out, splits, *, jobs):
    """-> lines of report."""
    listing = list_librispeech(root, splits)
    return write_librispeech(listing, out, check(listing, jobs=jobs))


def prepare_folders(
    folders,
    out,
    *,
    split,
    jobs,
    speaker_from="stem",
    convert_to=None,
    channel=None,
    dev_split="dev",
    dev_fraction=0.0,
    **drawn,
):
    """-> lines of report. drawn: dev_by and seed."""
    other = dev_split if dev_fraction else None
    listing = list_folders(folders, split, dev_split=other, speaker_from=speaker_from, convert_to=convert_to)
    checked = check(listing, jobs=jobs, channel=channel)
    drawn.update(dev_split=dev_split, dev_fraction=dev_fraction)
    return write_folders(listing, out, checked, folders, speaker_from=speaker_from, **drawn)

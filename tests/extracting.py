"""What a computation makes of a manifest, in the manifest's order."""

from spin_fairseq.extraction.batches import extract_each


def extract(compute, frames_of, manifest, **options):
    """-> a list with a tuple of arrays an utterance; arguments as of `extract_each`."""
    found = dict(extract_each(compute, frames_of, manifest, **options))
    return [found[index] for index in range(len(manifest))]

"""The utterances that are evaluated: one or several manifests, their speakers, and their phone labels if there are any."""

import logging
import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from collections.abc import Iterable, Sequence

import numpy as np

from ..speech.archives import slice_of
from ..speech.audio import SAMPLE_RATE
from ..speech.folder import manifest_of
from ..speech.manifest import Manifest, without_suffix, write_manifest
from ..speech.phone_labels import load_phone_labels
from ..errors import EvaluationError, ManifestError, PhoneLabelError
from ..files import write_text
from ..fingerprints import digest_of, manifest_fingerprint

SHORTEST = 400  # samples, 25 ms: what a frame sees

logger = logging.getLogger(__name__)


class Corpus:
    """Utterances of several manifests behind each other; to be read as one manifest.

    Attributes:
        sizes: (U,) int64, samples.
        speakers: tuple of U names.
        phones: None, or a list of U arrays (10-ms frames,) of ids into `symbols`; None for an utterance without labels.
        symbols: the phones, sorted.
    """

    def __init__(self, manifests: Iterable[Manifest]):
        """Raises ManifestError: an utterance is there twice, or is too short for a frame."""
        self.manifests = list(manifests)
        self._place = [(manifest, i) for manifest in self.manifests for i in range(len(manifest))]
        self.sizes = np.concatenate([manifest.sizes for manifest in self.manifests])
        self.ids = self._told_apart()
        self.speakers = tuple(manifest.speaker(i) for manifest, i in self._place)
        self.phones, self.symbols = None, ()
        name, count = Counter(self.ids).most_common(1)[0]
        if count > 1:
            where = ", ".join(dict.fromkeys(str(m.source) for (m, _), own in zip(self._place, self.ids) if own == name))
            raise ManifestError(f"{where}: {name!r} is there {count} times; remove all of its rows but one")
        short = int(self.sizes.argmin())
        if self.sizes[short] < SHORTEST:
            raise ManifestError(
                f"{self.path(short)}: {self.sizes[short]} samples are too short for a frame; leave it out"
            )

    def __len__(self):
        return len(self._place)

    def _told_apart(self):
        """Ids as of the one manifest that `write_manifest` writes."""
        own = tuple(self.label_id(i) for i in range(len(self)))
        if len(self.manifests) == 1:
            return own
        stems = Counter(name.rsplit("/", 1)[-1] for name in own)
        paths = Counter(without_suffix(name) for name in self.names)
        ids = []
        for stem, name in zip((name.rsplit("/", 1)[-1] for name in own), self.names):
            path = without_suffix(name)
            ids.append(stem if stems[stem] == 1 else path if paths[path] == 1 else name)
        return tuple(ids)

    @cached_property
    def root(self) -> str:
        """The folder that the roots of all manifests lie in."""
        return os.path.commonpath([os.path.abspath(manifest.root) for manifest in self.manifests])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Paths below `root`; absolute ones of files that are elsewhere."""
        if len(self.manifests) == 1:
            return tuple(manifest.name(i) for manifest, i in self._place)
        paths = [os.path.abspath(os.path.join(manifest.root, manifest.name(i))) for manifest, i in self._place]
        return tuple(
            os.path.relpath(path, self.root) if path.startswith(os.path.join(self.root, "")) else path for path in paths
        )

    def label_id(self, i: int) -> str:
        """The id in its own manifest, by which its phone labels go."""
        manifest, row = self._place[i]
        return manifest.utterance_id(row)

    def split(self, i: int) -> str:
        """The name of its manifest."""
        return self._place[i][0].source.stem

    def path(self, i: int) -> str:
        manifest, row = self._place[i]
        return manifest.path(row)

    @property
    def sources(self) -> list[str]:
        return [str(manifest.source) for manifest in self.manifests]

    @property
    def seconds(self) -> float:
        return float(self.sizes.sum() / SAMPLE_RATE)

    @property
    def labelled(self) -> list[int]:
        """Indices of the utterances that have phone labels."""
        return [i for i, row in enumerate(self.phones or ()) if row is not None]

    @cached_property
    def audio_fingerprint(self) -> str:
        """Changes with any path, length, or change of a file."""
        places = (slice_of(self.path(i)) for i in range(len(self)))
        paths = {self.path(i) if place is None else place.archive for i, place in enumerate(places)}
        files = (os.stat(path) for path in sorted(paths) if os.path.exists(path))
        manifests = [manifest_fingerprint(manifest) for manifest in self.manifests]
        return digest_of([manifests, [[file.st_size, file.st_mtime_ns] for file in files]])

    def fingerprint(self) -> str:
        """As `audio_fingerprint`, and with any speaker or label."""
        phones = None if self.phones is None else [None if row is None else row.tobytes().hex() for row in self.phones]
        return digest_of([self.audio_fingerprint, self.speakers, phones, self.symbols])

    def write_manifest(self, path: str | Path) -> None:
        """One manifest of all utterances, with absolute root and speakers."""
        rows = []
        for i, name in enumerate(self.names):
            place, row = self.path(i), (int(self.sizes[i]), self.speakers[i])
            if slice_of(place):  # a place in an archive tells no utterance id
                rows.append((os.path.relpath(place, self.root), *row, name))
            else:
                rows.append((name, *row))
        write_manifest(path, self.root, rows)

    def write_phones(self, path: str | Path) -> None:
        """One file with the labels of all utterances that have some."""
        rows = (",".join(self.symbols[phone] for phone in self.phones[i]) for i in self.labelled)
        lines = (f"{self.ids[i]}\t{row}\n" for i, row in zip(self.labelled, rows))
        write_text(path, "".join(lines), EvaluationError)


def load_corpus(paths: Sequence[str | Path], labels: Sequence[str | Path] = ()) -> Corpus:
    """-> Corpus.

    paths: manifests (.tsv, .json) or folders of audio. labels: files of phone labels, or folders with one of a
    manifest's name; utterances without labels are counted and logged. Raises ManifestError, AudioError, PhoneLabelError.
    """
    corpus = Corpus([manifest_of(path) for path in paths])
    if labels:
        _add_phones(corpus, [table for path in labels for table in _label_tables(Path(path), corpus)])
    return corpus


def _label_tables(path, corpus):
    if not path.is_dir():
        if path.suffix != ".tsv":
            raise PhoneLabelError(f"{path}: phone labels are a .tsv file, or a folder with one of each manifest's name")
        return [load_phone_labels(path.parent, path.stem)]
    names = [Path(source).stem for source in corpus.sources]
    found = [name for name in dict.fromkeys(names) if (path / f"{name}.tsv").is_file()]
    if not found:
        wanted = ", ".join(f"{name}.tsv" for name in dict.fromkeys(names))
        raise PhoneLabelError(f"{path}: has no {wanted}; labels are named as the manifest is, or give the file itself")
    return [load_phone_labels(path, name) for name in found]


def _add_phones(corpus, tables):
    symbols = sorted({symbol for table in tables for symbol in table.symbols})
    number = {symbol: i for i, symbol in enumerate(symbols)}
    phones, taken = [], {}
    for i in range(len(corpus)):
        name = corpus.label_id(i)
        having = [table for table in tables if name in table]
        if corpus.ids[i] != name:  # other manifests have the name too
            having = [table for table in having if table.source.stem == corpus.split(i)] or having
        if len(having) > 1:
            files = " and ".join(str(table.source) for table in having[:2])
            raise PhoneLabelError(f"{files}: both have labels for utterance {name!r}; remove one of the rows")
        if having and taken.setdefault((having[0].source, name), corpus.ids[i]) != corpus.ids[i]:
            raise PhoneLabelError(
                f"{having[0].source}: {name!r} may be {taken[having[0].source, name]} or {corpus.ids[i]}; give each manifest "
                "labels of its own, in a folder, named as the manifest is"
            )
        ids = np.array([number[symbol] for symbol in having[0].symbols], np.int16) if having else None
        phones.append(ids[having[0][name]] if having else None)
    missing = [name for name, row in zip(corpus.ids, phones) if row is None]
    if len(missing) == len(corpus):
        files, data = (", ".join(map(str, names)) for names in ([table.source for table in tables], corpus.sources))
        raise PhoneLabelError(
            f"{files}: no labels for any utterance of {data} (the first is {missing[0]!r}); they are for other files"
        )
    if missing:
        logger.warning(
            f"{len(missing)} of {len(corpus)} utterances have no phone labels and are left out where phones count: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}"
        )
    corpus.phones, corpus.symbols = phones, tuple(symbols)

"""Convert forced alignments (Praat TextGrids of the Montreal Forced Aligner) to phone labels, one per 10 ms."""

from __future__ import annotations

import os
import re
from pathlib import Path
from collections.abc import Sequence

import numpy as np

from spin_fairseq.speech.audio import SAMPLE_RATE
from spin_fairseq.speech.manifest import Manifest, load_manifest, write_manifest
from spin_fairseq.speech.phone_labels import STRESS
from spin_fairseq.processes import in_processes
from spin_fairseq.errors import PhoneLabelError
from spin_fairseq.files import whole_file

SAMPLES_PER_LABEL = SAMPLE_RATE // 100  # 10 ms
ANEW = "align the utterance anew, or delete the file: it has no labels then"
SILENCE = {"": "SIL", "sil": "SIL", "sp": "SIL", "spn": "SPN"}  # spn: noise, or a word that could not be aligned

_TIER = re.compile(r'name = "phones"(.*?)(?=\n\s*item \[|\Z)', re.DOTALL)
_INTERVAL = re.compile(r'xmin = (\S+)\s+xmax = (\S+)\s+text = "((?:[^"]|"")*)"')


def read_textgrid(path: str | Path) -> list[tuple[float, float, str]]:
    """Read the tier "phones" of a TextGrid in Praat's long form -> [(begin, end, phone)], in seconds.

    Raises PhoneLabelError: the file is unreadable or in another form, or its intervals are out of order.
    """
    if not os.path.isfile(path):
        raise PhoneLabelError(f"{path}: no such file; give the folder of the alignments with --phones")
    try:
        content = Path(path).read_bytes()
        is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise PhoneLabelError(f"{path}: cannot be read as text: {error}; {ANEW}") from error
    tier = _TIER.search(text)
    if tier is None:
        raise PhoneLabelError(f'{path}: has no tier "phones" in Praat\'s long text form; save it so from Praat')
    intervals = []
    try:
        for begin, end, phone in _INTERVAL.findall(tier.group(1)):
            intervals.append((float(begin), float(end), phone.strip()))
    except ValueError as error:
        raise PhoneLabelError(f"{path}: a time is not a number: {error}; {ANEW}") from error
    if not intervals:
        raise PhoneLabelError(f'{path}: its tier "phones" is empty; {ANEW}')
    times = [time for begin, end, _ in intervals for time in (begin, end)]
    if not (np.diff(times) >= 0).all():
        raise PhoneLabelError(f"{path}: the phones are not in the order of time; {ANEW}")
    return intervals


def labels_of(intervals: Sequence[tuple[float, float, str]], samples: int) -> list[str]:
    """One label for each full 10 ms of `samples` at 16 kHz: the phone in the middle of the 10 ms, or SIL where there is none."""
    middles = (np.arange(samples // SAMPLES_PER_LABEL) + 0.5) * SAMPLES_PER_LABEL / SAMPLE_RATE
    begins = np.array([begin for begin, _, _ in intervals])
    ends = np.array([end for _, end, _ in intervals])
    phones = [SILENCE.get(phone.lower(), STRESS.sub("", phone)) for _, _, phone in intervals]
    at = np.searchsorted(begins, middles, side="right") - 1
    inside = (at >= 0) & (middles < ends[at])
    return [phones[i] if there else "SIL" for i, there in zip(at, inside)]


def write_phone_labels(
    alignments: str | Path,
    data: str | Path,
    splits: Sequence[str],
    *,
    jobs: int,
) -> list[str]:
    """Write `{data}/phones/{split}.tsv` for the manifests of `data`, from the TextGrids below `alignments`.

    An utterance without a TextGrid, or with a broken one, gets no labels (the aligner failed on a few of LibriSpeech).
    PNMI needs labels for every utterance of a split, so such utterances are also removed from the manifest, unless the
    split is `train`.

    Returns lines of report.
    Raises PhoneLabelError: the folder is missing, or a split has no alignment at all.
    """
    if not os.path.isdir(alignments):
        raise PhoneLabelError(f"{alignments}: no such folder; --phones is the folder with the .TextGrid files")
    grids = _TextGrids(alignments)
    folder = Path(data) / "phones"
    folder.mkdir(parents=True, exist_ok=True)
    report = []
    for split in splits:
        manifest = load_manifest(data, split)
        rows = grids.of(manifest)
        ids = [manifest.utterance_id(i) for i in rows]
        tasks = [(grid, int(manifest.sizes[i])) for i, grid in rows.items()]
        target = folder / f"{split}.tsv"
        problems, labelled = [], set()
        with whole_file(target, PhoneLabelError) as temporary, open(temporary, "w", encoding="utf-8") as file:
            found = in_processes(_labels, tasks, jobs, description=f"{split} phones")
            for (labels, problem), utterance_id in zip(found, ids):
                if problem:
                    problems.append(problem)
                elif labels:
                    file.write(f"{utterance_id}\t{labels}\n")
                    labelled.add(utterance_id)
            if not labelled:
                first = f"; the first problem: {problems[0]}" if problems else ""
                raise PhoneLabelError(
                    f"{alignments}: none of its {len(grids)} TextGrids belongs to an utterance of {manifest.source} "
                    f"(they go by the name of the audio file){first}"
                )
        report.append(f"{split}: phone labels of {len(labelled):,} of {len(manifest):,} utterances -> {target}")
        report += [f"    {problem}" for problem in problems[:3]]
        keep = [i for i in range(len(manifest)) if manifest.utterance_id(i) in labelled]
        if len(keep) < len(manifest) and split != "train":
            write_manifest(manifest.source, manifest.root, manifest.rows(keep))
            report.append(f"    the {len(manifest) - len(keep):,} others have left {manifest.source}")
    report.append(f"phone labels: task.phones={folder}")
    return report


class _TextGrids:
    """The TextGrids below a folder, looked up by the name of an audio file and, if several share that name, by its folders."""

    def __init__(self, folder: str | Path):
        self._of_stem: dict[str, list[str]] = {}
        visited = set()
        for parent, folders, names in os.walk(folder, followlinks=True):
            if os.path.realpath(parent) in visited:  # a link may lead back up
                folders.clear()
                continue
            visited.add(os.path.realpath(parent))
            for name in sorted(names):
                if name.lower().endswith(".textgrid"):
                    self._of_stem.setdefault(os.path.splitext(name)[0], []).append(os.path.join(parent, name))

    def __len__(self) -> int:
        return sum(map(len, self._of_stem.values()))

    def of(self, manifest: Manifest) -> dict[int, str]:
        """{row: its TextGrid}, for rows that have one. Among several of its name a row takes the one with most folders in
        common; a TextGrid that several rows would take goes to the row with most folders in common. A tie gives none."""
        candidates: dict[str, list[tuple[int, int]]] = {}
        for i in range(len(manifest)):
            wanted = os.path.splitext(manifest.name(i))[0].split("/")
            grids = self._of_stem.get(wanted[-1], [])
            common = [_common_end(os.path.splitext(grid)[0].split("/"), wanted) for grid in grids]
            if grids and common.count(max(common)) == 1:
                candidates.setdefault(grids[common.index(max(common))], []).append((max(common), i))
        found = {}
        for grid, rows in candidates.items():
            most = max(common for common, _ in rows)
            best = [i for common, i in rows if common == most]
            if len(best) == 1:
                found[best[0]] = grid
        return dict(sorted(found.items()))


def _common_end(first: list[str], second: list[str]) -> int:
    """How many elements at the end of both are the same."""
    count = 0
    for a, b in zip(reversed(first), reversed(second)):
        if a != b:
            break
        count += 1
    return count


def _labels(task: tuple[str, int]) -> tuple[str, str]:
    """-> (comma-separated labels, "") or ("", what is wrong)."""
    path, samples = task
    try:
        return ",".join(labels_of(read_textgrid(path), samples)), ""
    except PhoneLabelError as error:
        return "", str(error)

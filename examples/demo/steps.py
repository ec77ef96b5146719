"""What the demo's steps share: a bar each, a log file each, and what says whether anything has changed.

Nothing of the package is imported here, so that a demo that has nothing to do ends at once.
"""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys

from tqdm import tqdm

STEPS = 4
SHOWN_LINES = 15  # of a log, when a step fails


class StepFailed(Exception):
    """A step's command failed; the message says which, and where its log is."""


def digest_of_files(files, *more):
    """Hex digest of the contents of files, in order, and of what else is given as text."""
    digest = hashlib.blake2b(repr(more).encode(), digest_size=16)
    for file in files:
        digest.update(b"%d\0" % file.stat().st_size)
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read_record(path):
    """-> the JSON object in a file, {} where there is none or it is damaged."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(path, record):
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(temporary, path)


class Step:
    """`with Step(2, "train Spin", log) as step:` shows a bar; `step.total(n)` and `step.reach(k)` move it.

    log: a file that gets what the step prints; its path is shown when the step begins. On a terminal a bar shows the progress,
    elsewhere only that the step begins. own_bar: False where what is called shows one itself.
    """

    def __init__(self, number, title, log, own_bar=True):
        self.number, self.title, self.path, self.own_bar = number, title, log, own_bar

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.log = open(self.path, "w", encoding="utf-8", errors="backslashreplace")
        print(f"{self.number}/{STEPS}  {self.title}  (log: {os.path.relpath(self.path)})", flush=True)
        hidden = None if self.own_bar else True  # None: where there is no terminal
        self.bar = tqdm(
            total=1,
            disable=hidden,
            bar_format="     {percentage:3.0f}% |{bar:40}| {elapsed}, {remaining} left {postfix}",
        )
        return self

    def __exit__(self, kind, error, _):
        if kind is None:
            self.reach(self.bar.total or 1)
        self.bar.close()
        self.log.close()

    def total(self, count):
        self.bar.reset(total=count)

    def reach(self, count):
        if not self.bar.disable:
            self.bar.update(max(0, min(count, self.bar.total) - self.bar.n))

    @contextlib.contextmanager
    def quiet(self):
        """What is printed inside goes to the log; the bars of others are left out."""
        with contextlib.redirect_stdout(self.log), contextlib.redirect_stderr(self.log):
            yield

    def call(self, main, arguments):
        """A verb of spin-fairseq in this process. Raises StepFailed; KeyboardInterrupt after Ctrl-C."""
        shown = not self.own_bar and sys.stderr.isatty()
        with contextlib.redirect_stdout(self.log) if shown else self.quiet():
            status = main(list(map(str, arguments)))
        if status == 130:
            raise KeyboardInterrupt
        if status:
            self.fail(f"spin-fairseq {' '.join(map(str, arguments))}")

    def run(self, command, environment, total, reached):
        """A command in a process of its own. total, reached: patterns with a number, found in lines of its output.

        Raises StepFailed; on Ctrl-C, which the terminal sends to the command too, it waits for the command to end.
        """
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
        try:
            for line in process.stdout:
                self.log.write(line)
                self.log.flush()
                for pattern, use in ((total, self.total), (reached, self.reach)):
                    found = re.search(pattern, line)
                    if found:
                        use(int(found[1]))
            status = process.wait()
        except BaseException:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)
            process.kill()
            process.wait()
            raise
        if status:
            self.fail(" ".join(command))

    def fail(self, command):
        self.log.flush()
        lines = self.path.read_text(encoding="utf-8").splitlines()[-SHOWN_LINES:]
        self.bar.close()
        print(*lines, sep="\n", file=sys.stderr)
        raise StepFailed(
            f"step {self.number} failed, its last words are above; its log is {self.path}. The command: {command}"
        )

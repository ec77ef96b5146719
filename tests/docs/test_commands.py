"""Every command of README and docs, as it is printed, from the root of a copy of the repository, on small inputs.

A block of commands that cannot run here (for want of a download, or of an hour) has `<!-- not run: why -->` right before it.
What a command expects to be there is made by the table in `workspace.py`, under the name that the page gives it; what an
earlier command of the page has made is taken as it is.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.markdown_commands import shell_blocks
from tests.docs.workspace import FIXTURES, REPOSITORY, Workspace

PAGES = ["README.md", *sorted(str(page.relative_to(REPOSITORY)) for page in (REPOSITORY / "docs").glob("*.md"))]
BLOCKS = {page: shell_blocks(page, (REPOSITORY / page).read_text()) for page in PAGES}
# Lines that this test cannot run, and what does instead.
ELSEWHERE = {
    "make demo": "the demo has tests of its own, and .ci/run runs it",
    "make setup": "it has tests of its own, and .ci/run runs it",
    "make test": "it runs this test",
    "source .venv/bin/activate": "this environment stands for .venv",
}
SECONDS = 300  # for a block


def runnable(text):
    """The block without the lines of ELSEWHERE."""
    lines = [line for line in text.splitlines() if re.sub(r"\s+#.*", "", line).strip() not in ELSEWHERE]
    return "\n".join(lines).strip()


def to_run(page):
    return [block for block in BLOCKS[page] if block.not_run is None and runnable(block.text)]


def test_blocks_and_marks_are_found():
    """Guards against a test that runs nothing since it finds nothing."""
    page = "x\n```sh\na \\\n  b\n```\n\n<!-- not run: needs\ndownloads -->\n```bash\nc\n```\n```python\nd\n```\n\n<!-- e -->\n\n```sh\nf\n```\n"
    blocks = shell_blocks("p", page)
    assert [(block.text, block.not_run, block.line) for block in blocks] == [
        ("a \\\n  b\n", None, 3), ("c\n", "needs\ndownloads", 10), ("f\n", None, 19)
    ]  # fmt: skip
    assert runnable("make demo     # that\nmake testing\n") == "make testing"


def test_what_is_not_run_says_why():
    assert not [str(block) for blocks in BLOCKS.values() for block in blocks if block.not_run == ""]
    assert len(to_run("README.md")) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)])
def test_commands_run_as_they_are_printed(page, tmp_path):
    """Guards against commands that only run with other paths, in another folder, or after something that no page says."""
    workspace, failed = Workspace(tmp_path / "spin_fairseq_copy"), []
    for block in to_run(page):
        workspace.prepare(block.text)
        script = f"set -exuo pipefail\n{runnable(block.text)}\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=workspace.root, env=workspace.environment(), timeout=SECONDS, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            failed.append(f"{block} fails:\n{block.text}\n{done.stdout[-4000:]}")
    assert not failed, "\n\n".join(failed)


@pytest.mark.slow
def test_every_fixture_can_be_made(tmp_path):
    """Guards against a table whose entries no page needs any more, or that cannot be made alone."""
    text = "".join(block.text for blocks in BLOCKS.values() for block in blocks)
    for number, name in enumerate(FIXTURES):
        assert name in text, f"no page mentions {name}: take it out of the table"
        workspace = Workspace(tmp_path / str(number) / "copy")
        workspace.prepare(name)
        assert (Path(workspace.root) / name).exists()

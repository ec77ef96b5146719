"""Blocks of shell commands in a Markdown page, and which of them are not to be run."""

import re
from dataclasses import dataclass

SHELLS = ("sh", "bash")
NOT_RUN = re.compile(r"<!--\s*not run:\s*((?:(?!-->).)*?)\s*-->\s*\Z", re.DOTALL)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Block:
    """A fenced block of a page. line: of its first command, from 1; not_run: the reason, None where it is to be run."""

    page: str
    line: int
    text: str
    not_run: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def shell_blocks(name, page):
    """-> [Block] of the page's text: those fenced as sh or bash. One right behind `<!-- not run: why -->` is not run."""
    blocks = []
    for found in FENCE.finditer(page):
        if found[1] in SHELLS:
            marked = NOT_RUN.search(page[: found.start()])
            blocks.append(Block(name, page[: found.start()].count("\n") + 2, found[2], marked and marked[1]))
    return blocks

"""Prints what pip is configured to on this machine as the environment variables that tell uv the same, a line each.

uv reads neither pip.conf nor PIP_*; without this it would not see a company's index, or wheels that lie on a disk.
Variables of uv that are set already stay as they are. Called by scripts/setup_environment.sh.
"""

import ast
import os
import subprocess
import sys

# pip's option: uv's variable, and what stands between several values there
VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("HTTPS_PROXY", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
}
SECTIONS = ["global", "install", ":env:"]  # a later one overrides an earlier one


def uv_settings(listing):
    """`pip config list`'s lines, "section.option='value'" -> {variable of uv: value}."""
    values = {}
    lines = [line.partition("=") for line in listing.splitlines() if "=" in line]
    for wanted in SECTIONS:
        for key, _, value in lines:
            section, _, option = key.rpartition(".")
            if section == wanted and option in VARIABLES:
                variable, separator = VARIABLES[option]
                values[variable] = separator.join(ast.literal_eval(value).split())
    # pip looks into every index for the best version; uv by itself into the first that has any.
    if "UV_INDEX" in values:
        values["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return values


if __name__ == "__main__":
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    for name, setting in uv_settings(listed.stdout).items():
        if name not in os.environ:
            print(f"{name}={setting}")

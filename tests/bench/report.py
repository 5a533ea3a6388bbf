"""Output of benchmarks: tables in Markdown, and the machine and commit."""

import os
import pathlib
import re
import shutil
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def markdown(headings, cells):
    return ["| " + " | ".join(row) + " |" for row in [headings, ["---"] * len(headings), *cells]]


def median_of(values, form):
    """"-" where no value is known."""
    known = [value for value in values if value is not None]
    return format(statistics.median(known), form) if known else "-"


def median_and_all(values, form):
    return f"{median_of(values, form)} ({', '.join(format(value, form) for value in values)})"


def median_ratio(values, bases, form=".2f"):
    """The median of values[i] / bases[i]. Each round is compared alone, because its runs were close in time."""
    return median_of([value / base for value, base in zip(values, bases)], form)


def machine():
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    name = model.group(1) if model else os.uname().machine
    vectors = [word for word in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if re.search(rf"\b{word}\b", cpuinfo)]
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {name} ({', '.join(vectors) or 'no AVX2'}), {memory_gib:.0f} GiB"


def commit():
    """The commit of the program; "an unknown commit" outside a checkout or without git."""
    def git(*arguments):
        if shutil.which("git") is None:
            return None
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "--short", "HEAD")
    return (head or "an unknown commit") + (" with changes" if git("status", "--porcelain", "-uno") else "")

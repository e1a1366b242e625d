"""The decisions that are mutated, and the unit tests that each of them has to be shown by.

Those that are named are the only ones that run against a mutant: what notices it is a test of that very decision, and
no flow that happens to lead past it. mutmut changes what stands in functions, but for properties and f-strings;
constants of modules and defaults of fields are not mutated, nor are log lines, which decide nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Decision:
    """`functions`: of the module, methods as `Class.method`; empty for all of them."""

    name: str
    module: str  # path in the repository
    tests: Sequence[str]  # in tests/unit
    functions: Sequence[str] = ()


DECISIONS: Sequence[Decision] = (
    Decision(name="tally", module="services/summarizer/tally.py", tests=["test_summarizer_tally.py"]),
    Decision(name="closing", module="services/summarizer/closing.py", tests=["test_summarizer_closing.py"]),
    Decision(name="listing proof", module="services/lister/walk.py", tests=["test_lister_walk.py"]),
    Decision(name="admission", module="services/lister/admission.py", tests=["test_lister_admission.py"]),
    Decision(name="original selection", module="services/downloader/manifest.py", tests=["test_manifest.py"]),
    Decision(name="key making", module="services/downloader/keys.py", tests=["test_keys.py"]),
    Decision(name="resume", module="services/downloader/transfer/limits.py", tests=["test_transfer_limits.py"]),
    Decision(
        name="resume",
        module="services/downloader/transfer/bucket.py",
        tests=["test_transfer_bucket.py"],
        functions=["Upload.length_of", "Bucket.resume", "Bucket.find", "Bucket.abort", "StoredObject.proof"],
    ),
    Decision(
        name="resume",
        module="services/downloader/download.py",
        tests=["test_download_resume.py"],
        functions=[
            "_Work.may_go_on",
            "Downloader._pause",
            "Downloader._store_file",
            "Downloader._upload_for",
            "Downloader._abort",
            "Downloader._new_key",
            "Downloader._begin",
        ],
    ),
    Decision(
        name="lease",
        module="services/downloader/lease.py",
        tests=["test_lease.py"],
        functions=["Library.take", "Library._why_not"],
    ),
)

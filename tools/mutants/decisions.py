"""The decisions that are mutated, and the unit tests that must notice their mutants.

Only the named tests run against a mutant, so that it is noticed by a test of that decision and not by a flow that
happens to pass through it. mutmut changes function bodies, except properties and f-strings; constants of modules and
defaults of fields are not mutated, nor are log lines, which decide nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A module's decision. `functions` names its functions, and its methods as `Class.method`; empty for all."""

    name: str
    module: str  # path in the repository
    tests: Sequence[str]  # in tests/unit
    functions: Sequence[str] = ()


DECISIONS: Sequence[Decision] = (
    Decision(name="tally", module="services/summarizer/tally.py", tests=["test_summarizer_tally.py"]),
    Decision(name="closing", module="services/summarizer/closing.py", tests=["test_summarizer_closing.py"]),
    Decision(
        name="notification",
        module="services/summarizer/notification.py",
        tests=["test_summarizer_notification.py"],
        functions=["headline_of", "_outcome", "_was_listed", "_figures", "_failures", "_what_to_do", "_remedies"],
    ),
    Decision(name="news", module="services/summarizer/news.py", tests=["test_summarizer_news.py"]),
    Decision(name="history", module="services/summarizer/history.py", tests=["test_summarizer_history.py"]),
    Decision(name="measures", module="services/summarizer/measures.py", tests=["test_summarizer_measures.py"]),
    Decision(name="library's page", module="services/summarizer/page/library.py", tests=["test_summarizer_library.py"]),
    Decision(name="progress report", module="services/downloader/progress.py", tests=["test_progress_report.py"]),
    Decision(name="rates", module="ops/rates.py", tests=["test_ops_rates.py"]),
    Decision(name="verdict", module="services/summarizer/page/verdict.py", tests=["test_page_verdict.py"]),
    Decision(name="funnel", module="services/summarizer/page/funnel.py", tests=["test_page_verdict.py"]),
    Decision(
        name="choreography", module="services/summarizer/page/choreography.py", tests=["test_page_choreography.py"]
    ),
    Decision(name="lanes", module="services/summarizer/page/lanes.py", tests=["test_page_lanes.py"]),
    Decision(name="failures", module="services/summarizer/page/failures.py", tests=["test_page_tables.py"]),
    Decision(name="media table", module="services/summarizer/page/media.py", tests=["test_page_tables.py"]),
    Decision(name="costs", module="services/summarizer/page/costs.py", tests=["test_page_tables.py"]),
    Decision(name="review", module="services/summarizer/review.py", tests=["test_summarizer_review.py"]),
    Decision(
        name="doctor",
        module="ops/doctor/here.py",
        tests=["test_ops_doctor.py"],
        functions=[
            "clock_findings",
            "tool_findings",
            "refused_versions",
            "bootstrap_findings",
            "code_of",
            "version_findings",
            "is_older",
            "concurrency",
        ],
    ),
    Decision(name="story", module="ops/story.py", tests=["test_ops_story.py"]),
    Decision(name="listing proof", module="services/lister/walk.py", tests=["test_lister_walk.py"]),
    Decision(name="newest media", module="services/lister/newest.py", tests=["test_lister_newest.py"]),
    Decision(name="admission", module="services/lister/admission.py", tests=["test_lister_admission.py"]),
    Decision(name="original selection", module="services/downloader/manifest.py", tests=["test_manifest.py"]),
    Decision(name="key making", module="services/shared/library/objects.py", tests=["test_library_objects.py"]),
    Decision(
        name="connections",
        module="services/downloader/transfer/connections.py",
        tests=["test_transfer_controller.py"],
        functions=[
            "Controller.note",
            "Controller._measure",
            "Controller._judge",
            "Controller._use",
            "Controller.give_way",
        ],
    ),
    Decision(
        name="resume",
        module="services/downloader/transfer/bucket.py",
        tests=["test_transfer_bucket.py", "test_transfer_limits.py"],
        functions=[
            "Limits.part_size",
            "Limits.in_one",
            "Limits.parts_in_hand",
            "Upload.length_of",
            "Bucket.resume",
            "Bucket.find",
            "Bucket.abort",
            "StoredObject.proof",
        ],
    ),
    Decision(
        name="resume",
        module="services/downloader/download.py",
        tests=["test_download_resume.py"],
        functions=[
            "Download.fresh_url",
            "Originals.store",
            "Originals.find_or_begin",
            "Originals.abort",
            "Originals._begin",
        ],
    ),
    Decision(name="files of a medium", module="services/downloader/shortfall.py", tests=["test_download_shortfall.py"]),
    Decision(
        name="files of a medium",
        module="services/downloader/download.py",
        tests=["test_download_resume.py"],
        functions=[
            "Download.choose_keys",
            "Download.save",
            "Originals.store_all",
            "Originals.at_once",
        ],
    ),
    Decision(
        name="resume",
        module="services/shared/inbox/heartbeat.py",
        tests=["test_download_resume.py"],
        functions=["Budget.begin_step"],
    ),
    Decision(
        name="resume",
        module="services/downloader/reactions.py",
        tests=["test_download_resume.py"],
        functions=["next_slice", "same_slice", "_paused"],
    ),
    Decision(
        name="lease",
        module="services/downloader/library_table.py",
        tests=["test_library_leases.py"],
        functions=["LibraryTable.take", "LibraryTable._why_not", "LibraryTable.fail"],
    ),
    Decision(
        name="session's life",
        module="services/authenticator/health.py",
        tests=["test_authenticator_health.py"],
    ),
    Decision(
        name="options",
        module="infra/key_grants.py",
        tests=["test_key_grants.py"],
        functions=["operations", "through", "of_services", "of_account"],
    ),
    Decision(name="options", module="infra/endpoints.py", tests=["test_endpoints.py"], functions=["called"]),
    Decision(
        name="options",
        module="ops/prerequisites.py",
        tests=["test_ops_prerequisites.py"],
        functions=["bucket_findings", "_lifecycle_findings", "_aborts", "_covers", "key_policy"],
    ),
)


if __name__ == "__main__":  # for `make quick`
    print(*sorted({f"tests/unit/{test}" for decision in DECISIONS for test in decision.tests}))

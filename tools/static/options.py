"""The options of a deployment in combination: each two values of two settings meet in one of a few templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.config import Settings, SettingsError
from infra.webhook_forms import WEBHOOKS
from tools.pairwise import Row, cover, possible
from tools.static.report import Report
from tools.static.template import built, cdk_nag, cfn_lint, checkov
from tools.template import Template

ARN = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

VALUES: Mapping[str, Sequence[str]] = {
    "env": ("prod", "dev"),
    "vpc": ("none", "create", "vpc-0123456789abcdef0"),
    "vpc_functions": ("all", "no_downloader"),
    "kms_key": ("none", "create", ARN),
    "media_bucket": ("create", "a-bucket-of-mine"),
    "object_lock_days": ("none", "30"),
    "permissions_boundary": ("none", "arn:aws:iam::123456789012:policy/boundary"),
    "tags": ("", "team=video,cost-center=4711"),
    "monthly_budget_usd": ("none", "25"),
    "webhooks": ("", ",".join(WEBHOOKS)),
    "heartbeat": ("off", "healthchecks"),
    "dashboard": ("true", "false"),
    "session_probe_hour": ("20", "off"),
}
SUBNETS = "subnet-0123456789abcdef0,subnet-0123456789abcdef1"


def complete(row: Row) -> dict[str, str]:
    """Return a row with the settings that others of it need."""
    return {**row, **({"vpc_subnets": SUBNETS} if row["vpc"].startswith("vpc-") else {})}


def is_allowed(row: Row) -> bool:
    """Return whether a deployment with these settings is not refused."""
    try:
        Settings.from_context(complete(row))
    except SettingsError:
        return False
    return True


def matrix() -> list[dict[str, str]]:
    """Return the combinations, in the order in which each adds the most pairs."""
    return [complete(row) for row in cover(possible(VALUES, is_allowed))]


def label(row: Row) -> str:
    """Return the settings of a row that aren't the first of their values, in short."""
    return " ".join(f"{name}={row[name][:12]}" for name, (first, *_) in VALUES.items() if row[name] != first) or "none"


@dataclass(frozen=True, kw_only=True)
class Linted:
    """A combination, its template, and what the tools say of it."""

    row: Row
    template: Template
    reports: Sequence[Report]


def linted(row: Row, folder: Path) -> Linted:
    """Synthesize a combination once, and run all tools on it."""
    stack = built(folder, row)
    nagged = cdk_nag(stack)
    template = folder / stack.template_file
    reports = [cfn_lint(template), *nagged, checkov(template)]
    return Linted(row=row, template=Template(folder, stack.stack_name), reports=reports)

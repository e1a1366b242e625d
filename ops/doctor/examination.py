"""All checks of `cloud-sync doctor`, one after the other."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from ops.doctor import deployed, here
from ops.doctor.findings import Checked, Finding, Severity
from ops.doctor.subject import Subject

Check = Callable[[Subject], Iterable[Finding]]

# In a stack that is there.
CHECKS: Sequence[Check] = (
    here.version,
    here.concurrency,
    deployed.functions,
    deployed.event_sources,
    deployed.bus,
    deployed.schedules,
    deployed.notifications,
    deployed.alarms,
    deployed.queues,
    deployed.secrets,
    deployed.session,
    deployed.media_bucket,
    deployed.tables,
    deployed.log_groups,
    deployed.kms_key,
)


def examine(subject: Subject) -> Iterator[Checked]:
    """Make the checks and yield what each finds, as soon as it has."""
    credentials = checked(here.credentials, subject)
    yield credentials
    yield checked(here.clock, subject)
    yield checked(here.tools, subject)
    if credentials.findings:
        return
    yield checked(here.bootstrap, subject)
    stack = checked(deployed.stack, subject)
    yield stack
    if any(found.severity is not Severity.AT_RISK for found in stack.findings) or not subject.deployment.outputs:
        return  # there is none, it has nothing in it, or its template can't be read
    for check in CHECKS:
        yield checked(check, subject)


def checked(check: Check, subject: Subject) -> Checked:
    """Make a check. What AWS refuses to show is a finding, too."""
    findings: list[Finding] = []
    try:
        findings += check(subject)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        findings.append(
            Finding(
                severity=Severity.UNKNOWN,
                what=f"AWS refused {error.operation_name}: {code}",
                means="This was not checked, or not all of it.",
                fix=f"allow whoever runs this the operation {error.operation_name}",
            )
        )
    except BotoCoreError as error:
        findings.append(
            Finding(
                severity=Severity.UNKNOWN,
                what=f"AWS did not answer: {error}",
                means="This was not checked, or not all of it.",
                fix="look at this machine's network, and try again",
            )
        )
    return Checked(check=check.__name__.replace("_", " "), findings=findings)

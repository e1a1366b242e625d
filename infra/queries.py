"""Saved queries of CloudWatch Logs Insights, in the console's folder that is named after the stack."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.service import Service

# A word in capitals is for the operator to replace. The field names are those of the functions' log lines, which a test
# compares.
_QUERIES: Mapping[str, str] = {
    "One sync in order": """\
# Write the sync's id in place of SYNC_ID, and choose a time range that begins before the sync
fields @timestamp, service, message, outcome, event, media_id, receives, waited, took, published.0, why
| filter sync_id = "SYNC_ID"
| sort @timestamp asc
| limit 10000""",
    "One medium": """\
# Write the medium's id in place of MEDIUM_ID. All of its syncs are shown
fields @timestamp, sync_id, service, message, outcome, event, receives, waited, took, published.0, why
| filter media_id = "MEDIUM_ID"
| sort @timestamp asc
| limit 10000""",
    "Slowest media": """\
# From the first to the last line of the downloader about a medium: its pauses and the waits between its tries included
filter service = "downloader" and ispresent(media_id)
| stats (max(@timestamp) - min(@timestamp)) / 1000 as seconds, max(receives) as receives, count(event) as messages
    by sync_id, media_id
| sort seconds desc
| limit 50""",
    "Every refusal": """\
# What failed, was refused or had to wait, with the reason
fields @timestamp, level, service, message, outcome, why, sync_id, media_id
| filter level in ["WARNING", "ERROR"] or ispresent(why) or message = "session_rejected"
| sort @timestamp desc
| limit 1000""",
}


class SavedQueries(Construct):
    """The saved queries over the logs of all functions."""

    def __init__(self, scope: Construct, construct_id: str, *, services: Sequence[Service]) -> None:
        super().__init__(scope, construct_id)
        for name, query in _QUERIES.items():
            logs.CfnQueryDefinition(
                self,
                name.title().replace(" ", ""),
                name=f"{cdk.Stack.of(self).stack_name}/{name}",
                query_string=query,
                log_group_names=[service.log_group.log_group_name for service in services],
            )

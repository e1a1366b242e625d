"""What cdk-nag and checkov object to, and what stands all the same: said beside the construct, kept in the template."""

from typing import cast

import aws_cdk as cdk
from constructs import Construct


def suppress(construct: Construct, *findings: str, because: str) -> None:
    """Let findings about a construct stand.

    Each is given as its tool prints it: `CKV_AWS_18`, `AwsSolutions-S1`, and of the rules that find several things in
    one construct with the one that is meant, such as `AwsSolutions-IAM5[Resource::*]`.
    """
    resource = cast("cdk.CfnResource", construct.node.default_child or construct)
    for finding in findings:
        rule, _, one_of_several = finding.removesuffix("]").partition("[")
        if rule.startswith("CKV"):
            _append(resource, "checkov", "skip", {"id": rule, "comment": because})
        else:
            only = {"applies_to": [one_of_several]} if one_of_several else {}
            _append(resource, "cdk_nag", "rules_to_suppress", {"id": rule, "reason": because, **only})


def _append(resource: cdk.CfnResource, tool: str, name: str, suppression: dict[str, object]) -> None:
    known = (resource.get_metadata(tool) or {}).get(name, [])
    resource.add_metadata(tool, {name: [*known, suppression]})

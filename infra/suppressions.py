"""Accepted findings of cdk-nag and checkov: written beside the construct, and kept in the template's metadata."""

from typing import cast

import aws_cdk as cdk
from constructs import Construct, IConstruct


def suppress(construct: Construct, *findings: str, because: str) -> None:
    """Accept findings about a construct.

    Each has the form that its tool prints: `CKV_AWS_18`, `AwsSolutions-S1`, and with the finding in brackets where a
    rule can find several in one construct, such as `AwsSolutions-IAM5[Resource::*]`.
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


def unsuppress(construct: IConstruct, *findings: str) -> None:
    """Take back that findings of checkov were accepted, since the construct no longer gives them."""
    resource = cast("cdk.CfnResource", construct.node.default_child or construct)
    kept = [one for one in (resource.get_metadata("checkov") or {}).get("skip", []) if one["id"] not in findings]
    if kept:
        resource.add_metadata("checkov", {"skip": kept})
    else:
        resource.cfn_options.metadata = {
            name: value for name, value in (resource.cfn_options.metadata or {}).items() if name != "checkov"
        }

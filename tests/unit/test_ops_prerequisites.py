"""`cloud-sync options`: what a bucket and a key of the user's need, before they are used."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.config import ABORT_UPLOADS_AFTER_DAYS
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.prerequisites import BucketFacts, bucket_findings, key_policy, read_bucket

REGION, KEY = "eu-central-1", "arn:aws:kms:eu-central-1:123456789012:key/1234abcd"
ACCESS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")

WANTED = "AbortIncompleteMultipartUpload after 21 days"
KEPT = f"incomplete uploads are kept, and paid for, for ever: add a lifecycle rule with {WANTED}"


def rule(days: int = ABORT_UPLOADS_AFTER_DAYS, **more: Any) -> dict[str, Any]:
    return {
        "ID": "a rule",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
        **more,
    }


FIT = BucketFacts(
    name="mine",
    region=REGION,
    versioning="Enabled",
    public_access_block=dict.fromkeys(ACCESS, True),
    ownership="BucketOwnerEnforced",
    lifecycle=[rule()],
    kms_key=KEY,
    policy='{"Condition": {"Bool": {"aws:SecureTransport": "false"}}}',
)


def texts(facts: BucketFacts, *, region: str = REGION, kms_key: str | None = KEY) -> list[str]:
    return [one.text for one in bucket_findings(facts, region=region, kms_key=kms_key)]


def test_a_bucket_that_has_all_that_is_needed_is_fit() -> None:
    assert texts(FIT) == []
    assert texts(replace(FIT, kms_key="")) == []


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"region": "us-east-1"},
            "it is in us-east-1, and the stack will be in eu-central-1: choose another bucket or region",
        ),
        ({"versioning": ""}, "versioning is off: an object that somebody overwrites would be lost"),
        ({"versioning": "Suspended"}, "versioning is off: an object that somebody overwrites would be lost"),
        ({"public_access_block": {}}, "public access is not blocked"),
        (
            {"public_access_block": {**dict.fromkeys(ACCESS, True), "RestrictPublicBuckets": False}},
            "public access is not blocked",
        ),
        ({"ownership": ""}, "ACLs are in use: who may read an object is not told by policies alone"),
        (
            {"policy": ""},
            "its policy does not refuse requests without TLS: deny them if aws:SecureTransport is false",
        ),
        (
            {"lifecycle": []},
            KEPT,
        ),
        (
            {"lifecycle": [rule(Status="Disabled")]},
            KEPT,
        ),
        (
            {"lifecycle": [rule(Filter={"Prefix": "logs/"})]},
            KEPT,
        ),
        (
            {"lifecycle": [rule(), rule(7, Filter={"And": {"Prefix": "gopro/2026/", "Tags": []}})]},
            f"incomplete uploads are aborted after 7 days, and a redrive may come later: use {WANTED}",
        ),
        (
            {"lifecycle": [rule(Expiration={"Days": 30})]},
            "the lifecycle rule 'a rule' deletes originals: leave gopro/ out of it",
        ),
    ],
)
def test_each_setting_that_is_missing_is_named(changed: dict[str, Any], text: str) -> None:
    assert texts(replace(FIT, **changed)) == [text]


def test_rules_about_other_objects_or_about_delete_markers_are_none_of_its_business() -> None:
    others = [rule(3, Filter={"Prefix": "logs/"}, Expiration={"Days": 3}), rule(2, Prefix="temporary/", Filter=None)]
    markers = rule(Expiration={"ExpiredObjectDeleteMarker": True})
    assert texts(replace(FIT, lifecycle=[rule(), *others, markers])) == []


def test_the_setting_for_a_key_has_to_be_the_buckets_key() -> None:
    said = "new objects are encrypted with a KMS key that the functions may not use: "
    assert texts(FIT, kms_key=None) == [f"{said}give the setting kms_key this ARN: {KEY}"]
    assert texts(replace(FIT, kms_key="aws/s3")) == [
        f"{said}encrypt it with a key of yours, and give the setting kms_key its ARN; or encrypt it with AES256"
    ]


def test_a_fix_is_a_command_to_copy() -> None:
    bare = BucketFacts(name="mine", region=REGION)
    every = "BlockPublicAcls=true,BlockPublicPolicy=true,IgnorePublicAcls=true,RestrictPublicBuckets=true"
    owner = "'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'"
    assert [one.fix for one in bucket_findings(bare, region=REGION, kms_key=None)] == [
        "aws s3api put-bucket-versioning --bucket mine --versioning-configuration Status=Enabled",
        f"aws s3api put-public-access-block --bucket mine --public-access-block-configuration {every}",
        f"aws s3api put-bucket-ownership-controls --bucket mine --ownership-controls {owner}",
        "",
        "",
    ]


@pytest.mark.parametrize("days", [1, ABORT_UPLOADS_AFTER_DAYS - 1, ABORT_UPLOADS_AFTER_DAYS])
def test_the_shortest_of_several_rules_counts(days: int) -> None:
    too_short = f"incomplete uploads are aborted after {days} days, and a redrive may come later: use {WANTED}"
    found = texts(replace(FIT, lifecycle=[rule(ABORT_UPLOADS_AFTER_DAYS + 9), rule(days)]))
    assert found == ([] if days == ABORT_UPLOADS_AFTER_DAYS else [too_short])


@pytest.mark.parametrize(
    ("where", "covers"),
    [
        ({"Filter": {"Prefix": "gopro/2026/"}}, True),
        ({"Filter": {"Prefix": "go"}}, True),
        ({"Filter": {"And": {"Prefix": "gopro/"}}}, True),
        ({"Filter": {"And": {"Prefix": "listings/"}}}, False),
        ({"Filter": None, "Prefix": "reports/"}, False),
        ({"Filter": None, "Prefix": ""}, True),
        ({"Filter": {"Tag": {"Key": "a", "Value": "b"}}}, True),
    ],
)
def test_a_rule_is_about_originals_unless_its_prefix_says_otherwise(where: dict[str, Any], *, covers: bool) -> None:
    expires = rule(Expiration={"Days": 1}, **where)
    named = ["the lifecycle rule 'a rule' deletes originals: leave gopro/ out of it"] if covers else []
    assert texts(replace(FIT, lifecycle=[rule(), expires])) == named


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with mock_aws():
        yield Deployment(boto3.Session("test", "test", region_name=REGION), "cloud-sync-prod")


def test_the_settings_of_a_bucket_are_read(deployment: Deployment) -> None:
    s3 = deployment.client("s3")
    s3.create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": REGION})
    bare = read_bucket(deployment, "mine")
    assert (bare.region, bare.versioning, bare.lifecycle, bare.kms_key) == (REGION, "", [], "")
    s3.put_bucket_versioning(Bucket="mine", VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(Bucket="mine", PublicAccessBlockConfiguration=dict(FIT.public_access_block))
    s3.put_bucket_ownership_controls(
        Bucket="mine", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    s3.put_bucket_lifecycle_configuration(Bucket="mine", LifecycleConfiguration={"Rules": [rule()]})
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    s3.put_bucket_encryption(
        Bucket="mine",
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": by_default}]},
    )
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": "arn:aws:s3:::mine/*",
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        }
    )
    s3.put_bucket_policy(Bucket="mine", Policy=policy)
    assert texts(read_bucket(deployment, "mine")) == []


def test_a_bucket_that_does_not_exist_is_named(deployment: Deployment) -> None:
    with pytest.raises(OperatorError, match=r"There is no bucket mine\."):
        read_bucket(deployment, "mine")


def test_the_policy_of_a_key_is_for_this_account_region_and_stack(deployment: Deployment) -> None:
    account, *services = key_policy(deployment, budget=False)
    assert key_policy(deployment, budget=True)[1:-1] == services
    assert account["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert [one["Sid"] for one in services] == ["EventBridgeSendsToQueues", "AlarmsPublish", "LogsEncrypt"]
    (logs, _) = services[2]["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    assert logs == "arn:aws:logs:eu-central-1:123456789012:log-group:cloud-sync-prod-*"

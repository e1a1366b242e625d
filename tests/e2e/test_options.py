"""A VPC, a key and a locked bucket of the user's are turned on for a stage whose roles decide, and a sync runs through.

What the emulator can't show: it encrypts nothing, asks for no permission on a key, routes no packet, and leaves the
functions outside the VPC that it creates.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.config import ABORT_UPLOADS_AFTER_DAYS
from ops import command
from ops.local import stage as local
from services.shared.events import SERVICES
from tests.e2e.invariants import violations_at_rest
from tests.e2e.media import MIB, assert_stored, bytes_fetched, serve, video
from tests.e2e.roles import Roles
from tests.e2e.stage import SETTINGS, Stage, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]

BUCKET = "a-bucket-of-mine"
BEFORE, SMALL, LARGE = video(1), video(2), video(3, size=12 * MIB)
ACCESS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage without any option."""
    with running(tmp_path_factory.mktemp("options") / "stage", SETTINGS, enforce_iam=True) as stage:
        yield stage


@pytest.fixture
def run(plain: Stage, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the stage; return its exit status and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = command.main([*arguments, "--stage-dir", str(plain.record.folder)])
        return status, capsys.readouterr().out

    return run


def prepare(stage: Stage, key: str) -> None:
    """Give the bucket what `options bucket` asks for."""
    s3, bucket = stage.client("s3"), {"Bucket": BUCKET}
    s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(**bucket, PublicAccessBlockConfiguration=dict.fromkeys(ACCESS, True))
    s3.put_bucket_ownership_controls(
        **bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    without_tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(**bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [without_tls]}))
    abort = {"DaysAfterInitiation": ABORT_UPLOADS_AFTER_DAYS}
    rule = {"ID": "abort", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": abort}
    s3.put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration={"Rules": [rule]})
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        **bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": by_default}]},
    )
    lock = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    s3.put_object_lock_configuration(**bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": lock})


def sync(stage: Stage) -> dict[str, Any]:
    sync_id = stage.trigger()
    summary = stage.summary(sync_id)
    eventually(stage.is_idle, "empty inboxes")
    return summary


def test_options_are_turned_on_in_a_running_stack_and_a_sync_runs_through(plain: Stage, run: Run) -> None:
    stage, before = plain, dict(plain.outputs)
    serve(stage, BEFORE)
    assert sync(stage)["downloaded"] == 1
    former = stage.objects_of(BEFORE.media_id)

    # A key and a bucket, made as the commands say.
    status, policy = run("options", "key")
    assert status == 0
    key = stage.client("kms").create_key(Policy=policy)["KeyMetadata"]["Arn"]
    stage.client("s3").create_bucket(Bucket=BUCKET)
    status, said = run("options", "bucket", BUCKET, "--kms-key", key)
    assert (status, said.count("WRONG")) == (1, 3), "versioning, TLS, lifecycle: a new bucket is private by itself"
    prepare(stage, key)
    assert run("options", "bucket", BUCKET, "--kms-key", key) == (0, "")
    status, said = run("options", "bucket", BUCKET)
    assert (status, said.count("WRONG"), key in said) == (1, 1, True)

    # An update of the stack that runs.
    options = {
        "vpc": "create",
        "kms_key": key,
        "media_bucket": BUCKET,
        "monthly_budget_usd": "25",
        "tags": "team=video",
    }
    wanted = local.Wanted(folder=stage.record.folder, settings={**SETTINGS, **options}, enforce_iam=True)
    stage.follow(local.up(wanted, say=lambda text: print(f"stage: {text}", file=sys.stderr)))
    changed = {name for name, value in before.items() if stage.outputs[name] != value}
    assert {"MediaBucketName"} <= changed
    assert [name for name in changed if BUCKET not in stage.outputs[name]] == []
    assert set(before) <= set(stage.outputs)
    vpc = {"Filters": [{"Name": "vpc-id", "Values": [stage.outputs["VpcId"]]}]}
    endpoints = stage.client("ec2").describe_vpc_endpoints(**vpc)["VpcEndpoints"]
    assert {one["ServiceName"].rpartition(".")[2] for one in endpoints} == {
        *("s3", "dynamodb"),
        *("events", "secretsmanager", "sns", "sqs", "xray"),
    }
    for service in SERVICES:
        url = stage.output(service, "QueueUrl")
        attributes = stage.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["KmsMasterKeyId"])
        assert attributes["Attributes"] == {"KmsMasterKeyId": key}

    # A sync into that bucket. What was stored before is known to be, and is not fetched again.
    serve(stage, BEFORE, SMALL, LARGE)
    roles = Roles(stage)
    since = roles.decided
    summary = sync(stage)
    assert (summary["downloaded"], summary["failed"], summary["stored"]) == (2, 0, 1)
    assert bytes_fetched(stage, BEFORE) == 0
    assert [one for one in roles.decisions(since) if not one.allowed] == []
    assert_stored(stage, SMALL, LARGE)
    for one in stage.objects().values():
        head = stage.client("s3").head_object(Bucket=BUCKET, Key=one.key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)
        with pytest.raises(ClientError, match="AccessDenied"):
            stage.client("s3").delete_object(Bucket=BUCKET, Key=one.key, VersionId=head["VersionId"])
        assert one.metadata["origin-etag"].strip('"') != one.etag

    # Both commands that look at the bucket say what the key has taken.
    status, said = run("verify", "--media-id", LARGE.media_id)
    assert status == 0
    assert "proof: 1 length" in said
    assert "1 of them are encrypted with a KMS key, under which an ETag proves nothing" in said
    status, said = run("verify", "--media-id", BEFORE.media_id)
    assert (status, "missing" in said) == (1, True), "it is in the former bucket, which is kept"
    (there,) = former
    (about,) = violations_at_rest(stage)
    assert f"{there.key} is STORED" in about

"""What a deployment's options need of what is there before it: a bucket of the user's, and the policy of a key."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from infra import key_grants
from infra.config import ABORT_UPLOADS_AFTER_DAYS
from ops.deployment import Deployment
from ops.errors import OperatorError
from services.shared.library.objects import PREFIX

_ACCESS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


@dataclass(frozen=True, kw_only=True)
class BucketFacts:
    """The settings of a bucket, as S3 tells them. Empty where it has none."""

    name: str
    region: str
    versioning: str = ""
    public_access_block: Mapping[str, bool] = field(default_factory=dict)
    ownership: str = ""
    lifecycle: Sequence[Mapping[str, Any]] = ()
    kms_key: str = ""  # by default, for new objects
    policy: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A setting of the bucket that Cloud Sync needs otherwise. `fix`: the command, if there is one."""

    text: str
    fix: str = ""


def read_bucket(deployment: Deployment, name: str) -> BucketFacts:
    """Return the settings of a bucket. Raises `OperatorError` when there is no such bucket."""
    s3 = deployment.client("s3")

    def setting(operation: str, answer: str, *absent: str) -> Any:
        """Return a part of an answer, or None if S3 says that the bucket has no such setting."""
        try:
            return getattr(s3, operation)(Bucket=name).get(answer)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in absent:
                return None
            if code in {"NoSuchBucket", "404"}:
                raise OperatorError(f"There is no bucket {name}.") from error
            raise

    # S3 leaves the region out for its first one.
    region = setting("get_bucket_location", "LocationConstraint") or "us-east-1"
    encryption = setting(
        "get_bucket_encryption",
        "ServerSideEncryptionConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
    )
    rules = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in (encryption or {}).get("Rules", [])]
    controls = setting("get_bucket_ownership_controls", "OwnershipControls", "OwnershipControlsNotFoundError")
    return BucketFacts(
        name=name,
        region=region,
        versioning=setting("get_bucket_versioning", "Status") or "",
        public_access_block=setting(
            "get_public_access_block", "PublicAccessBlockConfiguration", "NoSuchPublicAccessBlockConfiguration"
        )
        or {},
        ownership=next((rule["ObjectOwnership"] for rule in (controls or {}).get("Rules", [])), ""),
        lifecycle=setting("get_bucket_lifecycle_configuration", "Rules", "NoSuchLifecycleConfiguration") or [],
        kms_key=next((rule.get("KMSMasterKeyID", "aws/s3") for rule in rules if "kms" in rule["SSEAlgorithm"]), ""),
        policy=setting("get_bucket_policy", "Policy", "NoSuchBucketPolicy") or "",
    )


def bucket_findings(bucket: BucketFacts, *, region: str, kms_key: str | None) -> Iterator[Finding]:
    """Yield what has to change before the bucket can be `media_bucket`. `kms_key`: as the setting will be."""
    api, name = "aws s3api", bucket.name
    if bucket.region != region:
        yield Finding(
            text=f"it is in {bucket.region}, and the stack will be in {region}: choose another bucket or region"
        )
    if bucket.versioning != "Enabled":
        yield Finding(
            text="versioning is off: an object that somebody overwrites would be lost",
            fix=f"{api} put-bucket-versioning --bucket {name} --versioning-configuration Status=Enabled",
        )
    if not all(bucket.public_access_block.get(setting) for setting in _ACCESS):
        every = ",".join(f"{setting}=true" for setting in _ACCESS)
        yield Finding(
            text="public access is not blocked",
            fix=f"{api} put-public-access-block --bucket {name} --public-access-block-configuration {every}",
        )
    if bucket.ownership != "BucketOwnerEnforced":
        rule = "Rules=[{ObjectOwnership=BucketOwnerEnforced}]"
        yield Finding(
            text="ACLs are in use: who may read an object is not told by policies alone",
            fix=f"{api} put-bucket-ownership-controls --bucket {name} --ownership-controls '{rule}'",
        )
    if "aws:SecureTransport" not in bucket.policy:
        yield Finding(text="its policy does not refuse requests without TLS: deny them if aws:SecureTransport is false")
    yield from _lifecycle_findings(bucket.lifecycle)
    if bucket.kms_key and bucket.kms_key != kms_key:
        wanted = f"give the setting kms_key this ARN: {bucket.kms_key}"
        if not bucket.kms_key.startswith("arn:"):
            wanted = "encrypt it with a key of yours, and give the setting kms_key its ARN; or encrypt it with AES256"
        yield Finding(text=f"new objects are encrypted with a KMS key that the functions may not use: {wanted}")


def _lifecycle_findings(rules: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    enabled = [rule for rule in rules if rule.get("Status") == "Enabled"]
    ours = [rule for rule in enabled if _covers(rule)]
    days = [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in ours if _aborts(rule)]
    wanted = f"AbortIncompleteMultipartUpload after {ABORT_UPLOADS_AFTER_DAYS} days"
    if not days:
        yield Finding(text=f"incomplete uploads are kept, and paid for, for ever: add a lifecycle rule with {wanted}")
    elif min(days) < ABORT_UPLOADS_AFTER_DAYS:
        yield Finding(
            text=f"incomplete uploads are aborted after {min(days)} days, and a redrive may come later: use {wanted}"
        )
    for rule in ours:
        if "Expiration" in rule and not set(rule["Expiration"]) <= {"ExpiredObjectDeleteMarker"}:
            yield Finding(text=f"the lifecycle rule {rule['ID']!r} deletes originals: leave {PREFIX} out of it")


def _aborts(rule: Mapping[str, Any]) -> bool:
    return "AbortIncompleteMultipartUpload" in rule


def _covers(rule: Mapping[str, Any]) -> bool:
    """Return whether a lifecycle rule may be about originals: it is unless its prefix says otherwise."""
    filtered = rule.get("Filter") or {}
    both = filtered.get("And") or {}
    prefix = str(rule.get("Prefix") or filtered.get("Prefix") or both.get("Prefix") or "")
    return PREFIX.startswith(prefix) or prefix.startswith(PREFIX)


def key_policy(deployment: Deployment, *, budget: bool) -> list[key_grants.Statement]:
    """Return the statements that the policy of a key of the user's needs for this stack, deployed or not."""
    identity = deployment.client("sts").get_caller_identity()
    where = {"partition": str(identity["Arn"]).split(":")[1], "account": str(identity["Account"])}
    services = key_grants.of_services(
        **where, region=deployment.session.region_name, stack=deployment.stack_name, budget=budget
    )
    return [key_grants.of_account(**where), *services]

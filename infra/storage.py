"""Everything that outlives a sync: the media bucket, the tables and the secrets."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.config import ABORT_UPLOADS_AFTER_DAYS, CREATE, Settings
from infra.suppressions import suppress

# What is stored outlives the stack. But a first deployment that fails takes back what it made, or the next would fail.
_KEPT = cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE

REPORTS = "reports/"
"""The prefix below which the summarizer writes in the media bucket."""

_STRING = dynamodb.AttributeType.STRING
_NUMBER = dynamodb.AttributeType.NUMBER


class Storage(Construct):
    """The stores. The stack grants access to them, beside each service."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
    ) -> None:
        super().__init__(scope, construct_id)
        self._deletion_protection = settings.protected
        self.media: s3.IBucket = (
            self._bucket(settings.object_lock_days)
            if settings.media_bucket == CREATE
            else s3.Bucket.from_bucket_name(self, "GivenMedia", settings.media_bucket)
        )
        self.library = self._table(
            "Library", settings.library_table, partition=("media_id", _STRING), sort=("item", _NUMBER)
        )
        self.syncs = self._table(
            "Syncs", settings.syncs_table, partition=("sync_id", _STRING), sort=("record", _STRING)
        )
        self.authenticator = self._table(
            "Authenticator", settings.authenticator_table, partition=("id", _STRING), expires_at="expiration"
        )

        # CloudFormation writes a secret's value only when the value in the template changes. So the placeholder must
        # never change: what the user or a service has stored there survives every deployment.
        # The credentials are the user's, and the rotated refresh token may be the only one that GoPro still accepts:
        # neither can be recreated. The next sync creates a new session.
        self.credentials_arn = self._secret(
            "Credentials", settings.credentials_secret, "GoPro credentials, filled in by the user", _KEPT
        )
        self.refresh_arn = self._secret("Refresh", settings.refresh_secret, "The current refresh token", _KEPT)
        self.session_arn = self._secret("Session", CREATE, "The current access token", cdk.RemovalPolicy.DESTROY)

    def _bucket(self, object_lock_days: int | None) -> s3.Bucket:
        media = s3.Bucket(
            self,
            "Media",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            removal_policy=_KEPT,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="abort-abandoned-uploads",
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(ABORT_UPLOADS_AFTER_DAYS),
                )
            ],
            # Governance: an administrator with a permission of its own may still delete. Nobody else may, this stack's
            # functions included, which never delete an object anyway.
            object_lock_default_retention=(
                s3.ObjectLockRetention.governance(cdk.Duration.days(object_lock_days)) if object_lock_days else None
            ),
        )
        # It refuses requests without TLS, also when there is no stack.
        if media.policy:
            media.policy.apply_removal_policy(_KEPT)
        suppress(
            media,
            "AwsSolutions-S1",
            "CKV_AWS_18",
            because="Access logs would fill a second bucket for ever; CloudTrail's data events can record the same",
        )
        return media

    def _table(
        self,
        construct_id: str,
        given: str,
        *,
        partition: tuple[str, dynamodb.AttributeType],
        sort: tuple[str, dynamodb.AttributeType] | None = None,
        expires_at: str | None = None,
    ) -> dynamodb.ITable:
        """Create a table, or refer to the one that is given by its name."""
        if given != CREATE:
            return dynamodb.Table.from_table_name(self, f"Given{construct_id}", given)
        table = dynamodb.Table(
            self,
            construct_id,
            partition_key=dynamodb.Attribute(name=partition[0], type=partition[1]),
            sort_key=dynamodb.Attribute(name=sort[0], type=sort[1]) if sort else None,
            time_to_live_attribute=expires_at,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=self._deletion_protection,
            removal_policy=_KEPT,
        )
        suppress(
            table,
            "CKV_AWS_119",
            because="DynamoDB encrypts with a key of its own; one of the user's costs more a month than the tables do",
        )
        return table

    def _secret(self, construct_id: str, given: str, description: str, removal_policy: cdk.RemovalPolicy) -> str:
        """Create a secret, unless the ARN of one is given. Returns its ARN.

        Of a new one it is the attribute `Id`: the emulator's `Ref` of a secret is its name.
        """
        if given != CREATE:
            return given
        secret = secretsmanager.CfnSecret(
            self,
            construct_id,
            description=f"{cdk.Stack.of(self).stack_name}: {description}",
            secret_string="{}",  # noqa: S106  # the placeholder
        )
        secret.apply_removal_policy(removal_policy)
        suppress(
            secret,
            "AwsSolutions-SMG4",
            because="Only GoPro can issue what is in it: the user puts it there, or the authenticator at each renewal",
        )
        suppress(
            secret,
            "CKV_AWS_149",
            because="Encrypted with the account's key for secrets; one of the user's costs more than the secret does",
        )
        return secret.attr_id

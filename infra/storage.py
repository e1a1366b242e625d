"""What outlives a sync: the media bucket, the tables and the secrets."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.service import DEAD_LETTER_RETENTION
from infra.suppressions import suppress

_STRING = dynamodb.AttributeType.STRING
_NUMBER = dynamodb.AttributeType.NUMBER


class Storage(Construct):
    """The stores, each written by one service; the grants are beside the services, in the stack."""

    def __init__(self, scope: Construct, construct_id: str, *, deletion_protection: bool) -> None:
        super().__init__(scope, construct_id)
        self._deletion_protection = deletion_protection

        self.media = s3.Bucket(
            self,
            "Media",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
            lifecycle_rules=[
                # A medium redriven on its dead letter's last day must still find the parts it had uploaded.
                s3.LifecycleRule(
                    id="abort-abandoned-uploads",
                    abort_incomplete_multipart_upload_after=DEAD_LETTER_RETENTION.plus(cdk.Duration.days(7)),
                )
            ],
        )
        suppress(
            self.media,
            "AwsSolutions-S1",
            "CKV_AWS_18",
            because="Access logs would fill a second bucket for ever; CloudTrail's data events tell the same if wanted",
        )
        self.library = self._table("Library", partition=("media_id", _STRING), sort=("item", _NUMBER))
        self.syncs = self._table("Syncs", partition=("sync_id", _STRING), sort=("record", _STRING))
        self.authenticator = self._table("Authenticator", partition=("id", _STRING), expires_at="expiration")

        # CloudFormation writes a secret's value only when the value in the template changes, so the placeholder must
        # stay as it is for ever: whatever the user or a service has put there survives every deployment.
        # The credentials are the user's, and the rotated refresh token may be the only one that GoPro still honours:
        # neither can be made again from here. A session is made anew by the next sync.
        self.credentials_arn = self._secret(
            "Credentials", "GoPro credentials, filled in by the user", cdk.RemovalPolicy.RETAIN
        )
        self.refresh_arn = self._secret("Refresh", "The current refresh token", cdk.RemovalPolicy.RETAIN)
        self.session_arn = self._secret("Session", "The current access token", cdk.RemovalPolicy.DESTROY)

    def _table(
        self,
        construct_id: str,
        *,
        partition: tuple[str, dynamodb.AttributeType],
        sort: tuple[str, dynamodb.AttributeType] | None = None,
        expires_at: str | None = None,
    ) -> dynamodb.Table:
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
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        suppress(
            table,
            "CKV_AWS_119",
            because="DynamoDB encrypts with a key of its own; one of the user's costs more a month than the tables do",
        )
        return table

    def _secret(self, construct_id: str, description: str, removal_policy: cdk.RemovalPolicy) -> str:
        """A secret's ARN; by `Id`, as the emulator's reference to a secret is its name."""
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

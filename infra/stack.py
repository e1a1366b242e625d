"""The whole stack: what there is, who reacts to what, and who may do what."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import packaging
from infra.config import Settings
from infra.observability import Alarms, Notifications
from infra.schedule import Schedules
from infra.service import Service
from infra.storage import Storage


class CloudSync(cdk.Stack):
    """Four services around one bus, their stores, and the schedules that set them going."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Copies a GoPro Cloud library into an S3 bucket, every night",
            termination_protection=settings.is_production,
            synthesizer=_synthesizer(settings),
        )
        self.settings = settings
        self.bus = events.EventBus(self, "Bus", event_bus_name=construct_id)
        self.store = Storage(self, "Storage", deletion_protection=settings.is_production)
        self.notifications = Notifications(self, "Notifications", emails=settings.notification_emails)
        self.layer = lambda_.LayerVersion(
            self,
            "Dependencies",
            description="Third-party packages of all services",
            code=packaging.dependency_layer(settings.wheels),
            compatible_runtimes=[packaging.RUNTIME],
            compatible_architectures=[packaging.ARCHITECTURE],
        )

        self.authenticator = self._authenticator()
        self.lister = self._lister()
        self.downloader = self._downloader()
        self.summarizer = self._summarizer()
        self.schedules = Schedules(self, "Schedules", bus=self.bus, settings=settings)

        services = [self.authenticator, self.lister, self.downloader, self.summarizer]
        Alarms(
            self,
            "Alarms",
            env=settings.env,
            topic=self.notifications,
            services=services,
            authenticator=self.authenticator,
            summarizer=self.summarizer,
            schedule_dead_letters=self.schedules.dead_letters,
            schedule_enabled=settings.schedule_enabled,
        )
        self._outputs(services)
        self._console_links(services)

    def _authenticator(self) -> Service:
        settings, store = self.settings, self.store
        service = Service(
            self,
            "Authenticator",
            name="authenticator",
            bus=self.bus,
            reacts_to={"SyncRequested": ["schedule"], "SessionRejected": ["lister", "downloader"]},
            layer=self.layer,
            settings=settings,
            timeout=cdk.Duration.seconds(120),
            memory_megabytes=256,
            environment={
                "CREDENTIALS_SECRET": store.credentials_arn,
                "REFRESH_SECRET": store.refresh_arn,
                "SESSION_SECRET": store.session_arn,
                "AUTHENTICATOR_TABLE": store.authenticator.table_name,
                **self._gopro(),
                "SCHEDULE_TIME_ZONE": settings.schedule_time_zone,
            },
        )
        service.may("secretsmanager:GetSecretValue", on=store.credentials_arn)
        for written in (store.refresh_arn, store.session_arn):
            service.may("secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", on=written)
        service.may(
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
            on=store.authenticator.table_arn,
        )
        return service

    def _lister(self) -> Service:
        settings, store = self.settings, self.store
        service = Service(
            self,
            "Lister",
            name="lister",
            bus=self.bus,
            reacts_to={"SessionAuthenticated": ["authenticator"], "LibraryListingPaused": ["lister"]},
            layer=self.layer,
            settings=settings,
            timeout=cdk.Duration.seconds(900),
            memory_megabytes=512,
            environment={
                "SESSION_SECRET": store.session_arn,
                "LIBRARY_TABLE": store.library.table_name,
                "MEDIA_BUCKET": store.media.bucket_name,
                **self._gopro(),
                "MAX_MEDIA_PER_SYNC": str(settings.max_media_per_sync),
                "MAX_GIGABYTES_PER_SYNC": str(settings.max_gigabytes_per_sync),
                "PAGES_PER_SLICE": str(settings.pages_per_slice),
                "LANE_WAIT_SECONDS": f"{settings.lane_wait_seconds:g}",
            },
        )
        service.may("secretsmanager:GetSecretValue", on=store.session_arn)
        service.may("dynamodb:BatchGetItem", on=store.library.table_arn)
        service.may_below("listings/", "s3:GetObject", "s3:PutObject", of=store.media)
        return service

    def _downloader(self) -> Service:
        settings, store = self.settings, self.store
        service = Service(
            self,
            "Downloader",
            name="downloader",
            bus=self.bus,
            reacts_to={"MediaDiscovered": ["lister"], "MediaDownloadPaused": ["downloader"]},
            layer=self.layer,
            settings=settings,
            retry_base_seconds=settings.retry_base_seconds,
            timeout=cdk.Duration.seconds(settings.downloader_timeout_seconds),
            memory_megabytes=settings.downloader_memory_mb,
            concurrency=settings.concurrency,
            environment={
                "SESSION_SECRET": store.session_arn,
                "LIBRARY_TABLE": store.library.table_name,
                "MEDIA_BUCKET": store.media.bucket_name,
                **self._gopro(),
                "LANE_WAIT_SECONDS": f"{settings.lane_wait_seconds:g}",
                "MEMORY_MEGABYTES": str(settings.downloader_memory_mb),
                "CONNECTIONS_PER_FILE": str(max(1, settings.gopro_connections // settings.concurrency)),
                "STALL_BYTES_PER_SECOND": str(settings.stall_kilobytes_per_second * 1000),
                "STALL_SECONDS": str(settings.stall_seconds),
                # botocore's own signer; the native one copies what it signs.
                "BOTO_DISABLE_CRT": "true",
                # Buffers go back to the system when they are let go of, instead of adding up file by file.
                "MALLOC_MMAP_THRESHOLD_": str(1024 * 1024),
            },
        )
        service.may("secretsmanager:GetSecretValue", on=store.session_arn)
        service.may(
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:ConditionCheckItem",
            on=store.library.table_arn,
        )
        service.may_below(
            "gopro/",
            "s3:GetObject",
            "s3:PutObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
            of=store.media,
        )
        return service

    def _summarizer(self) -> Service:
        settings, store, downloader = self.settings, self.store, self.downloader
        service = Service(
            self,
            "Summarizer",
            name="summarizer",
            bus=self.bus,
            reacts_to={
                "SyncRequested": ["schedule"],
                "SyncReviewDue": ["schedule"],
                "AuthenticationFailed": ["authenticator"],
                "MediaDiscovered": ["lister"],
                "LibraryListed": ["lister"],
                "LibraryListingFailed": ["lister"],
                "MediaDownloaded": ["downloader"],
                "MediaDownloadFailed": ["downloader"],
            },
            layer=self.layer,
            settings=settings,
            timeout=cdk.Duration.seconds(120),
            memory_megabytes=512,
            # More tries than elsewhere: of a fact that is lost here only the review can learn, and not of every one.
            max_receives=10,
            # One transaction takes 100 changes: so many facts, the sync's own record and its place among the open ones.
            batch_size=98,
            batch_window=cdk.Duration.seconds(1),
            environment={
                "SYNCS_TABLE": store.syncs.table_name,
                "LIBRARY_TABLE": store.library.table_name,
                "MEDIA_BUCKET": store.media.bucket_name,
                "NOTIFICATION_TOPIC_ARN": self.notifications.topic_arn,
                "DOWNLOADER_INBOX_URL": downloader.inbox.queue_url,
                "DOWNLOADER_DEAD_LETTERS_URL": downloader.dead_letters.queue_url,
                "SYNC_DEADLINE_HOURS": f"{settings.sync_deadline_hours:g}",
                "SCHEDULE_TIME_ZONE": settings.schedule_time_zone,
            },
        )
        service.may(
            "dynamodb:GetItem",
            "dynamodb:BatchGetItem",
            "dynamodb:Query",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
            on=store.syncs.table_arn,
        )
        service.may("dynamodb:BatchGetItem", on=store.library.table_arn)
        service.may_below("reports/", "s3:PutObject", of=store.media)
        service.may("sns:Publish", on=self.notifications.topic_arn)
        service.may("sqs:GetQueueAttributes", on=downloader.inbox.queue_arn)
        return service

    def _gopro(self) -> dict[str, str]:
        """Where GoPro is, for the services that talk to it."""
        return {
            "GOPRO_API_URL": self.settings.gopro_api_url,
            "DOWNLOAD_HOSTS": ",".join(self.settings.download_hosts),
        }

    def _outputs(self, services: list[Service]) -> None:
        """What an operator types, and what the `cloud-sync` command reads."""
        store, schedules = self.store, self.schedules
        values = {
            "EventBusName": self.bus.event_bus_name,
            "MediaBucketName": store.media.bucket_name,
            "LibraryTableName": store.library.table_name,
            "SyncsTableName": store.syncs.table_name,
            "AuthenticatorTableName": store.authenticator.table_name,
            "NotificationTopicArn": self.notifications.topic_arn,
            "CredentialsSecretName": store.credentials_arn,  # its ARN, which every command takes for a name
            "ScheduleGroupName": schedules.group.schedule_group_name,
            "DailyScheduleName": schedules.daily.schedule_name,
            "CatchUpScheduleName": schedules.catch_up.schedule_name,
            "ReviewScheduleName": schedules.review.schedule_name,
        }
        for service in services:
            values |= {
                f"{service.node.id}QueueUrl": service.inbox.queue_url,
                f"{service.node.id}DeadLettersUrl": service.dead_letters.queue_url,
                f"{service.node.id}FunctionName": service.function.function_name,
                f"{service.node.id}LogGroupName": service.log_group.log_group_name,
            }
        for name, value in values.items():
            cdk.CfnOutput(self, name, value=value)

    def _console_links(self, services: list[Service]) -> None:
        """Where an operator looks, in the AWS console."""
        console = f"https://{self.region}.console.aws.amazon.com"
        links = {
            "EventBus": f"events/home?region={self.region}#/eventbus/{self.bus.event_bus_name}",
            "MediaBucket": f"s3/buckets/{self.store.media.bucket_name}?region={self.region}",
            "Schedules": f"scheduler/home?region={self.region}#schedules",
            "Credentials": f"secretsmanager/secret?region={self.region}&name={self.store.credentials_arn}",
            "Alarms": f"cloudwatch/home?region={self.region}#alarmsV2:",
            "Traces": f"cloudwatch/home?region={self.region}#xray:service-map/map",
        }
        for service in services:
            name = service.function.function_name
            links[service.node.id] = f"lambda/home?region={self.region}#/functions/{name}?tab=monitoring"
        for name, page in links.items():
            cdk.CfnOutput(self, f"{name}ConsoleUrl", value=f"{console}/{page}")


def _synthesizer(settings: Settings) -> cdk.IStackSynthesizer:
    # The local stage evaluates IAM policies, and would refuse the publishing roles of a bootstrapped account.
    if settings.wheels == "host":
        return cdk.CliCredentialsStackSynthesizer()
    return cdk.DefaultStackSynthesizer()

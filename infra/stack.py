"""The whole stack: what there is, which service reacts to what, and what each is allowed to do."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import options, outputs, packaging
from infra.config import Settings
from infra.dashboard import Dashboard
from infra.journal import Journal
from infra.observability import Alarms, Notifications
from infra.queries import SavedQueries
from infra.schedule import Schedules
from infra.service import Service, dead_letter_queue
from infra.storage import REPORTS, Storage
from infra.trace_groups import TraceGroups
from infra.webhooks import Webhooks
from services.authenticator.reactions import REACTIONS as AUTHENTICATOR_REACTIONS
from services.authenticator.settings import Settings as AuthenticatorSettings
from services.downloader.reactions import REACTIONS as DOWNLOADER_REACTIONS
from services.downloader.settings import Settings as DownloaderSettings
from services.lister.reactions import REACTIONS as LISTER_REACTIONS
from services.lister.settings import Settings as ListerSettings
from services.shared.library import objects
from services.summarizer.reactions import REACTIONS as SUMMARIZER_REACTIONS
from services.summarizer.settings import Settings as SummarizerSettings


class CloudSync(cdk.Stack):
    """Four services around one bus, their stores, and the schedules that start them."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Copies a GoPro Cloud library into an S3 bucket, every night",
            termination_protection=settings.protected,
            synthesizer=_synthesizer(settings),
        )
        self.settings = settings
        self.bus = events.EventBus(self, "Bus", event_bus_name=construct_id)
        self.undelivered = dead_letter_queue(self, "Undelivered")
        self.store = Storage(self, "Storage", settings=settings)
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
        self.services = (self.authenticator, self.lister, self.downloader, self.summarizer)
        self.journal = Journal(self, "Journal", bus=self.bus, days=settings.event_log_days)
        self.schedules = Schedules(self, "Schedules", bus=self.bus, settings=settings)
        self.webhooks = Webhooks(self, "Webhooks", bus=self.bus, undelivered=self.undelivered, settings=self.settings)
        alarms = Alarms(
            self,
            "Alarms",
            settings=settings,
            topic=self.notifications,
            services=self.services,
            authenticator=self.authenticator,
            summarizer=self.summarizer,
            schedules=self.schedules,
            undelivered=self.undelivered,
        )
        pages = outputs.console_pages(self)
        if settings.dashboard:
            Dashboard(
                self,
                "Dashboard",
                name=construct_id,
                settings=settings,
                services=self.services,
                authenticator=self.authenticator,
                downloader=self.downloader,
                summarizer=self.summarizer,
                schedules=self.schedules,
                undelivered=self.undelivered,
                store=self.store,
                journal=self.journal,
                alarms=alarms,
                pages=pages,
            )
        SavedQueries(self, "Queries", services=self.services)
        TraceGroups(self, "Traces", services=self.services)
        options.add(self)
        outputs.names_of_resources(self)
        outputs.console_links(self, pages)

    def _authenticator(self) -> Service:
        settings, store = self.settings, self.store
        service = Service(
            self,
            "Authenticator",
            bus=self.bus,
            undelivered=self.undelivered,
            layer=self.layer,
            deployment=settings,
            reacts_to=AUTHENTICATOR_REACTIONS,
            settings=AuthenticatorSettings(
                credentials_secret=store.credentials_arn,
                refresh_secret=store.refresh_arn,
                session_secret=store.session_arn,
                authenticator_table=store.authenticator.table_name,
                gopro_api_url=settings.gopro_api_url,
                download_hosts=",".join(settings.download_hosts),
                environment=settings.env,
                schedule_time_zone=settings.schedule_time_zone,
                schedule_hour=settings.schedule_hour,
            ),
            timeout=cdk.Duration.seconds(120),
            memory_mb=256,
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
            bus=self.bus,
            undelivered=self.undelivered,
            layer=self.layer,
            deployment=settings,
            reacts_to=LISTER_REACTIONS,
            settings=ListerSettings(
                session_secret=store.session_arn,
                library_table=store.library.table_name,
                syncs_table=store.syncs.table_name,
                media_bucket=store.media.bucket_name,
                gopro_api_url=settings.gopro_api_url,
                download_hosts=",".join(settings.download_hosts),
                max_media_per_sync=settings.max_media_per_sync,
                max_gigabytes_per_sync=settings.max_gigabytes_per_sync,
                looks_per_sync=settings.looks_per_sync,
                order=settings.order,
                pages_per_slice=settings.pages_per_slice,
                full_walk_days=settings.full_walk_days,
                lane_wait_seconds=settings.lane_wait_seconds,
            ),
            timeout=cdk.Duration.seconds(900),
            memory_mb=512,
        )
        service.may("secretsmanager:GetSecretValue", on=store.session_arn)
        service.may("dynamodb:BatchGetItem", on=store.library.table_arn)
        service.may("dynamodb:GetItem", on=store.syncs.table_arn)
        service.may_below("listings/", "s3:GetObject", "s3:PutObject", of=store.media)
        return service

    def _downloader(self) -> Service:
        settings, store = self.settings, self.store
        service = Service(
            self,
            "Downloader",
            bus=self.bus,
            undelivered=self.undelivered,
            layer=self.layer,
            deployment=settings,
            reacts_to=DOWNLOADER_REACTIONS,
            settings=DownloaderSettings(
                retry_base_seconds=settings.retry_base_seconds,
                session_secret=store.session_arn,
                library_table=store.library.table_name,
                syncs_table=store.syncs.table_name,
                media_bucket=store.media.bucket_name,
                gopro_api_url=settings.gopro_api_url,
                download_hosts=",".join(settings.download_hosts),
                lane_wait_seconds=settings.lane_wait_seconds,
                downloader_memory_mb=settings.downloader_memory_mb,
                connections_per_file=max(1, settings.gopro_connections // settings.concurrency),
                stall_kilobytes_per_second=settings.stall_kilobytes_per_second,
                stall_seconds=settings.stall_seconds,
            ),
            timeout=cdk.Duration.seconds(settings.downloader_timeout_seconds),
            memory_mb=settings.downloader_memory_mb,
            concurrency=settings.concurrency,
            environment_of_libraries={
                # botocore's own signer: the native one copies what it signs.
                "BOTO_DISABLE_CRT": "true",
                # glibc returns each freed buffer of this size to the system, so that files don't add up.
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
        service.may("dynamodb:GetItem", on=store.syncs.table_arn)
        service.may_below(
            objects.PREFIX,
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
            bus=self.bus,
            undelivered=self.undelivered,
            layer=self.layer,
            deployment=settings,
            reacts_to=SUMMARIZER_REACTIONS,
            settings=SummarizerSettings(
                # More tries than elsewhere: only the review could find a fact that is lost here, and not every one.
                max_receives=10,
                environment=settings.env,
                syncs_table=store.syncs.table_name,
                library_table=store.library.table_name,
                media_bucket=store.media.bucket_name,
                notification_topic_arn=self.notifications.topic_arn,
                notify=settings.notify,
                downloader_inbox_url=downloader.inbox.queue_url,
                downloader_memory_mb=settings.downloader_memory_mb,
                is_local=settings.is_local,
                sync_deadline_hours=settings.sync_deadline_hours,
                schedule_time_zone=settings.schedule_time_zone,
                schedule_hour=settings.schedule_hour,
                schedule_enabled=settings.schedule_enabled,
            ),
            timeout=cdk.Duration.seconds(120),
            memory_mb=1024,  # the close of a sync of 100,000 media
            # A DynamoDB transaction takes 100 changes: 97 facts, and three for the sync, its place in the index and its
            # record in the history.
            batch_size=97,
            batch_window=cdk.Duration.seconds(1),
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
        service.may_below(REPORTS, "s3:PutObject", of=store.media)
        service.may("sns:Publish", on=self.notifications.topic_arn)
        service.may("sqs:GetQueueAttributes", on=downloader.inbox.queue_arn)
        return service


def _synthesizer(settings: Settings) -> cdk.IStackSynthesizer:
    # The local stage evaluates IAM policies, and would refuse the publishing roles of a bootstrapped account.
    if settings.is_local:
        return cdk.CliCredentialsStackSynthesizer()
    return cdk.DefaultStackSynthesizer()

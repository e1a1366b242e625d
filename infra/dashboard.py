"""The dashboard: the nights, the machinery and what drives the cost, in one page of the CloudWatch console."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Settings
from infra.journal import Journal
from infra.observability import RUNBOOKS, Alarms
from infra.schedule import REVIEW_EVERY, Schedules
from infra.service import METRICS_NAMESPACE, Service
from infra.storage import Storage
from services.shared.metrics import Metric

_WIDE, _HALF, _THIRD = 24, 12, 8  # of the 24 columns of a dashboard
_PERIOD = cdk.Duration.minutes(5)
_NIGHT = cdk.Duration.days(1)  # CloudWatch's days are UTC's
_NIGHTS = "-P35D"  # how far the widgets by night look back
_RECENTLY = cdk.Duration.days(1)  # how far all others do, until somebody chooses another range
_MEGABYTE, _GIGABYTE = 1e6, 1e9
_MILLISECONDS = 1000  # a second, and Lambda's unit of durations

_AWS_SQS_CALLS = (
    "NumberOfMessagesSent",
    "NumberOfMessagesReceived",
    "NumberOfMessagesDeleted",
    "NumberOfEmptyReceives",
)


class Dashboard(Construct):
    """The dashboard. `pages`: URLs of the console, by name."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        settings: Settings,
        services: Sequence[Service],
        authenticator: Service,
        downloader: Service,
        summarizer: Service,
        schedules: Schedules,
        undelivered: sqs.IQueue,
        store: Storage,
        journal: Journal,
        alarms: Alarms,
        pages: Mapping[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._services = services
        self._authenticator = authenticator
        self._downloader = downloader
        self._summarizer = summarizer
        self._alarms = alarms
        dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=name,
            default_interval=_RECENTLY,
            # Each widget keeps its own period: a night is a day even when the page shows a month.
            period_override=cloudwatch.PeriodOverride.INHERIT,
        )
        dashboard.add_widgets(_text(_introduction(settings, pages), height=6))
        dashboard.add_widgets(
            cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms.by_name.values()), width=_WIDE, height=3)
        )
        dashboard.add_widgets(_text("## The nights", height=1))
        dashboard.add_widgets(self._last_night())
        dashboard.add_widgets(self._new_media(), self._library())
        dashboard.add_widgets(self._bytes(), self._rate())
        dashboard.add_widgets(_text("## The machinery", height=1))
        dashboard.add_widgets(self._age(), self._depth())
        dashboard.add_widgets(self._lanes(), self._open_syncs())
        dashboard.add_widgets(self._dead_letters(schedules, undelivered), self._errors(), self._throttles())
        dashboard.add_widgets(self._duration(), self._session_age())
        dashboard.add_widgets(_text("## What it costs, by its causes (`cloud-sync cost` has the prices)", height=1))
        dashboard.add_widgets(self._computing(), self._storage(store))
        dashboard.add_widgets(self._table_units(store), self._queue_calls(), self._log_bytes(journal))

    # The nights

    def _last_night(self) -> cloudwatch.IWidget:
        return cloudwatch.SingleValueWidget(
            title="The last 24 hours, in media",
            metrics=[
                self._of_syncs(Metric.MEDIA_LISTED, "in the library", _NIGHT),
                self._of_syncs(Metric.MEDIA_STORED_BEFORE, "stored before", _NIGHT),
                self._of_syncs(Metric.MEDIA_NEW, "new", _NIGHT),
                self._of_syncs(Metric.MEDIA_DOWNLOADED, "stored", _NIGHT),
                self._of_syncs(Metric.MEDIA_FAILED, "failed", _NIGHT),
                self._of_syncs(Metric.MEDIA_DEFERRED, "left for a later night", _NIGHT),
                self._of_syncs(Metric.MEDIA_NOT_READY, "not ready at GoPro", _NIGHT),
            ],
            start="-PT24H",
            end="PT0H",
            set_period_to_time_range=True,
            full_precision=True,
            width=_WIDE,
            height=3,
        )

    def _new_media(self) -> cloudwatch.IWidget:
        return _graph(
            "New media by night, and what became of them",
            self._of_syncs(Metric.MEDIA_NEW, "new", _NIGHT),
            self._of_syncs(Metric.MEDIA_DOWNLOADED, "stored", _NIGHT),
            self._of_syncs(Metric.MEDIA_FAILED, "failed", _NIGHT),
            self._of_syncs(Metric.MEDIA_DEFERRED, "left for a later night", _NIGHT),
            self._of_syncs(Metric.MEDIA_NOT_READY, "not ready at GoPro", _NIGHT),
            unit="media",
            start=_NIGHTS,
        )

    def _library(self) -> cloudwatch.IWidget:
        return _graph(
            "The library by night, and how much of it was stored before",
            self._of_syncs(Metric.MEDIA_LISTED, "in the library", _NIGHT, statistic="Maximum"),
            self._of_syncs(Metric.MEDIA_STORED_BEFORE, "stored before", _NIGHT, statistic="Maximum"),
            unit="media",
            start=_NIGHTS,
        )

    def _bytes(self) -> cloudwatch.IWidget:
        stored = self._of_syncs(Metric.BYTES_STORED, "bytes", _NIGHT)
        gigabytes = _math(f"stored / {_GIGABYTE:.0f}", {"stored": stored}, "stored", _NIGHT)
        return _graph("Gigabytes stored by night", gigabytes, unit="GB", start=_NIGHTS)

    def _rate(self) -> cloudwatch.IWidget:
        # A medium counts once all of it is stored, so a long video is one late value: take the rate of a longer time.
        period = cdk.Duration.minutes(15)
        stored = self._of_syncs(Metric.BYTES_STORED, "bytes", period)
        rate = _math(f"stored / PERIOD(stored) / {_MEGABYTE:.0f}", {"stored": stored}, "all lanes together", period)
        return _graph("Rate at which media are stored", rate, unit="MB/s")

    # The machinery

    def _age(self) -> cloudwatch.IWidget:
        # SQS leaves out a message that was received three times.
        ages = [
            service.inbox.metric_approximate_age_of_oldest_message(
                label=service.name, period=_PERIOD, statistic="Maximum"
            )
            for service in self._services
        ]
        return _graph("How long the oldest message of each inbox has waited", *ages, unit="seconds")

    def _depth(self) -> cloudwatch.IWidget:
        depths = [
            _math(
                f"{service.name}_waiting + {service.name}_in_work",
                {
                    f"{service.name}_waiting": service.inbox.metric_approximate_number_of_messages_visible(
                        period=_PERIOD, statistic="Maximum"
                    ),
                    f"{service.name}_in_work": service.inbox.metric_approximate_number_of_messages_not_visible(
                        period=_PERIOD, statistic="Maximum"
                    ),
                },
                service.name,
                _PERIOD,
            )
            for service in self._services
        ]
        return _graph("Messages of each inbox, waiting or in work", *depths, unit="messages")

    def _lanes(self) -> cloudwatch.IWidget:
        busy = self._downloader.function.metric(
            "ConcurrentExecutions", label="busy", period=_PERIOD, statistic="Maximum"
        )
        lanes = cloudwatch.HorizontalAnnotation(value=self._settings.concurrency, label="lanes (setting `concurrency`)")
        return _graph("Lanes that download", busy, unit="lanes", marks=[lanes])

    def _open_syncs(self) -> cloudwatch.IWidget:
        found = self._of_syncs(Metric.OPEN_SYNCS, "syncs", REVIEW_EVERY, statistic="Maximum")
        syncs = _math("FILL(found, 0)", {"found": found}, "syncs", REVIEW_EVERY)
        return _graph("Syncs that are open, or not announced yet", syncs, unit="syncs")

    def _dead_letters(self, schedules: Schedules, undelivered: sqs.IQueue) -> cloudwatch.IWidget:
        queues: dict[str, sqs.IQueue] = {service.name: service.dead_letters for service in self._services}
        queues |= {"schedules": schedules.dead_letters, "not delivered by the bus": undelivered}
        counts = [
            queue.metric_approximate_number_of_messages_visible(label=label, period=_PERIOD, statistic="Maximum")
            for label, queue in queues.items()
        ]
        marks = self._marks("DownloaderDeadLetters", label="rings, for each queue")
        return _graph("Dead letters", *counts, unit="messages", marks=marks, width=_THIRD)

    def _errors(self) -> cloudwatch.IWidget:
        errors = [
            service.function.metric_errors(label=service.name, period=_PERIOD, statistic="Sum")
            for service in self._services
        ]
        marks = self._marks("SummarizerErrors", label="rings after 15 minutes, for the summarizer")
        return _graph("Functions that crashed or ran out of time", *errors, unit="errors", marks=marks, width=_THIRD)

    def _throttles(self) -> cloudwatch.IWidget:
        throttles = [
            service.function.metric_throttles(label=service.name, period=_PERIOD, statistic="Sum")
            for service in self._services
        ]
        marks = self._marks("Throttles")
        return _graph("Starts that Lambda refused", *throttles, unit="starts", marks=marks, width=_THIRD)

    def _duration(self) -> cloudwatch.IWidget:
        shares = []
        for service in self._services:
            longest = service.function.metric_duration(period=_PERIOD, statistic="Maximum")
            timeout = service.timeout.to_milliseconds()
            name = f"{service.name}_longest"
            shares.append(_math(f"100 * {name} / {timeout:.0f}", {name: longest}, service.name, _PERIOD))
        end = cloudwatch.HorizontalAnnotation(value=100, label="timeout", color=cloudwatch.Color.RED)
        return _graph("The longest run, in percent of the function's timeout", *shares, unit="%", marks=[end])

    def _session_age(self) -> cloudwatch.IWidget:
        age = self._metric(self._authenticator, Metric.SESSION_AGE_HOURS, "age", _NIGHT, statistic="Maximum")
        marks = self._marks("SessionOld")
        return _graph("Age of the session with GoPro", age, unit="hours", marks=marks, start=_NIGHTS)

    # What it costs

    def _computing(self) -> cloudwatch.IWidget:
        used = []
        for service in self._services:
            total = service.function.metric_duration(period=_NIGHT, statistic="Sum")
            gigabytes = service.memory_mb / 1024
            name = f"{service.name}_total"
            expression = f"{name} / {_MILLISECONDS} * {gigabytes:g}"
            used.append(_math(expression, {name: total}, service.name, _NIGHT))
        return _graph("Lambda: gigabyte-seconds by day", *used, unit="GB s", start=_NIGHTS)

    def _storage(self, store: Storage) -> cloudwatch.IWidget:
        size = cloudwatch.Metric(
            namespace="AWS/S3",
            metric_name="BucketSizeBytes",
            dimensions_map={"BucketName": store.media.bucket_name, "StorageType": "StandardStorage"},
            period=_NIGHT,
            statistic="Average",
        )
        gigabytes = _math(f"size / {_GIGABYTE:.0f}", {"size": size}, "in storage class Standard", _NIGHT)
        return _graph("S3: gigabytes in the bucket", gigabytes, unit="GB", start=_NIGHTS)

    def _table_units(self, store: Storage) -> cloudwatch.IWidget:
        tables = {"library": store.library, "syncs": store.syncs, "authenticator": store.authenticator}
        units = [
            metric
            for name, table in tables.items()
            for metric in (
                table.metric_consumed_write_capacity_units(label=f"{name}, written", period=_NIGHT, statistic="Sum"),
                table.metric_consumed_read_capacity_units(label=f"{name}, read", period=_NIGHT, statistic="Sum"),
            )
        ]
        return _graph("DynamoDB: units by day", *units, unit="units", start=_NIGHTS, width=_THIRD)

    def _queue_calls(self) -> cloudwatch.IWidget:
        calls = []
        for service in self._services:
            counted = {
                f"{service.name}_{number}": service.inbox.metric(name, period=_NIGHT, statistic="Sum")
                for number, name in enumerate(_AWS_SQS_CALLS)
            }
            expression = " + ".join(f"FILL({name}, 0)" for name in counted)
            calls.append(_math(expression, counted, service.name, _NIGHT))
        return _graph(
            "SQS: requests by day, most of them idle polls", *calls, unit="requests", start=_NIGHTS, width=_THIRD
        )

    def _log_bytes(self, journal: Journal) -> cloudwatch.IWidget:
        groups = {service.name: service.log_group.log_group_name for service in self._services}
        groups["events"] = journal.log_group.ref
        logs = []
        for label, log_group in groups.items():
            # The log group's own `metric_incoming_bytes` is of all log groups of the account.
            written = cloudwatch.Metric(
                namespace="AWS/Logs",
                metric_name="IncomingBytes",
                dimensions_map={"LogGroupName": log_group},
                period=_NIGHT,
                statistic="Sum",
            )
            name = f"{label}_bytes"
            logs.append(_math(f"{name} / {_MEGABYTE:.0f}", {name: written}, label, _NIGHT))
        return _graph("CloudWatch Logs: megabytes by day", *logs, unit="MB", start=_NIGHTS, width=_THIRD)

    def _of_syncs(
        self, metric: Metric, label: str, period: cdk.Duration, *, statistic: str = "Sum"
    ) -> cloudwatch.Metric:
        return self._metric(self._summarizer, metric, label, period, statistic=statistic)

    def _metric(
        self, service: Service, metric: Metric, label: str, period: cdk.Duration, *, statistic: str
    ) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=METRICS_NAMESPACE,
            metric_name=metric.value,
            dimensions_map={"environment": self._settings.env, "service": service.name},
            label=label,
            period=period,
            statistic=statistic,
        )

    def _marks(self, alarm: str, *, label: str = "rings") -> list[cloudwatch.HorizontalAnnotation]:
        """Return the threshold of an alarm, to be drawn."""
        threshold = self._alarms.by_name[alarm].to_annotation().value
        return [cloudwatch.HorizontalAnnotation(value=threshold, label=f"{alarm} {label}", color=cloudwatch.Color.RED)]


def _introduction(settings: Settings, pages: Mapping[str, str]) -> str:
    links = {
        "Reports of the syncs": "Reports",
        "Alarms": "Alarms",
        "Saved queries": "Queries",
        "Traces": "Traces",
        "Event bus": "EventBus",
        "Schedules": "Schedules",
        "Bucket": "MediaBucket",
        "Credentials": "Credentials",
    }
    reports = "Among the reports, `index.html` is the page of the library, and each sync has a page named by its id."
    terminal = (
        f"In the terminal: `.venv/bin/cloud-sync status --env {settings.env}` shows what waits and what to do, and "
        f"`watch` follows a sync. The saved queries are in the folder `cloud-sync-{settings.env}`."
    )
    checkout = (
        f"In the checkout: an alarm's description ends with its runbook in `{RUNBOOKS}`. "
        "`docs/operating.md` explains this page."
    )
    top = " · ".join(f"[{text}]({pages[page]})" for text, page in links.items())
    return "\n\n".join([f"# Cloud Sync ({settings.env})", top, reports, terminal, checkout])


def _text(markdown: str, *, height: int) -> cloudwatch.IWidget:
    return cloudwatch.TextWidget(
        markdown=markdown, width=_WIDE, height=height, background=cloudwatch.TextWidgetBackground.TRANSPARENT
    )


def _math(
    expression: str, using: Mapping[str, cloudwatch.IMetric], label: str, period: cdk.Duration
) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(expression=expression, using_metrics=dict(using), label=label, period=period)


def _graph(
    title: str,
    *metrics: cloudwatch.IMetric,
    unit: str,
    marks: Sequence[cloudwatch.HorizontalAnnotation] = (),
    start: str | None = None,
    width: int = _HALF,
) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
        title=title,
        left=list(metrics),
        left_y_axis=cloudwatch.YAxisProps(label=unit, min=0, show_units=False),
        left_annotations=list(marks),
        start=start,
        width=width,
        height=6,
    )

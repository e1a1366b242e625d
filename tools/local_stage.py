"""Drives a running local stage: requests syncs, and inspects queues, uploads and worker processes."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import psutil

from ops.dead_letters import DeadLetter, failures
from ops.deployment import Deployment
from ops.local import stage as local
from ops.local.gopro_cloud import Control
from ops.local.processes import marked
from ops.trigger import Request, request_sync


class LocalStage:
    """A running local stage. `record` is the stage as saved in its folder."""

    def __init__(self, record: local.Stage) -> None:
        self.record = record
        self._clients: dict[str, Any] = {}

    def follow(self, record: local.Stage) -> None:
        """Go on with the stage as an update has left it."""
        self.record = record
        self.__dict__.pop("deployment", None)  # which keeps the stack's outputs
        self._clients.clear()

    @property
    def outputs(self) -> Mapping[str, str]:
        """Return the outputs of the deployed stack, by name."""
        return self.record.outputs

    def output(self, service: str, kind: str) -> str:
        """Return the output of one service, such as its `QueueUrl` or `FunctionName`."""
        return self.outputs[f"{service.title()}{kind}"]

    @cached_property
    def deployment(self) -> Deployment:
        return self.record.deployment

    @cached_property
    def control(self) -> Control:
        """Return the control of the fake GoPro Cloud, which scripts and inspects it."""
        return Control(self.record.gopro_control_url)

    def client(self, name: str) -> Any:
        """Return a boto3 client for an AWS service of the stage."""
        if name not in self._clients:
            self._clients[name] = self.deployment.client(name)
        return self._clients[name]

    def trigger(self, **request: Any) -> str:
        """Ask for a sync as an operator does, and return its id. Takes the fields of `ops.trigger.Request`."""
        return request_sync(self.deployment, Request(**request))

    def queue_of_events(self, name: str) -> str:
        """Create a queue that receives every event of the services, and return its URL."""
        url, arn = self._queue(name)
        rule = {"EventBusName": self.outputs["EventBusName"]}
        pattern = json.dumps({"source": [{"prefix": "cloud-sync."}]})
        self.client("events").put_rule(Name=name, EventPattern=pattern, **rule)
        self.client("events").put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}], **rule)
        return url

    def queue_of_notifications(self, name: str) -> str:
        """Create a queue that receives every notification, and return its URL."""
        url, arn = self._queue(name)
        self.client("sns").subscribe(TopicArn=self.outputs["NotificationTopicArn"], Protocol="sqs", Endpoint=arn)
        return url

    def _queue(self, name: str) -> tuple[str, str]:
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        senders = {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}
        allowed = {"Effect": "Allow", "Principal": senders, "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return url, arn

    def inbox(self, service: str) -> dict[str, int]:
        """Return how many messages of an inbox are `visible`, `in_flight` and `delayed`."""
        answer = self.client("sqs").get_queue_attributes(
            QueueUrl=self.output(service, "QueueUrl"), AttributeNames=["All"]
        )
        names = {"": "visible", "NotVisible": "in_flight", "Delayed": "delayed"}
        return {name: int(answer["Attributes"][f"ApproximateNumberOfMessages{of}"]) for of, name in names.items()}

    def dead_letters(self, service: str = "downloader") -> list[DeadLetter]:
        """Return the dead letters of a service, which stay in their queue."""
        return failures(self.deployment, [service])

    def items(self, table_output: str) -> Iterator[dict[str, Any]]:
        """Return all items of the table that an output names."""
        table = self.deployment.table(table_output)
        for page in table.meta.client.get_paginator("scan").paginate(TableName=table.name, ConsistentRead=True):
            yield from page["Items"]

    def uploads(self) -> list[dict[str, Any]]:
        """Return the multipart uploads that are neither completed nor aborted."""
        answer = self.client("s3").list_multipart_uploads(Bucket=self.outputs["MediaBucketName"])
        return list(answer.get("Uploads", []))

    def worker_pids(self, service: str) -> list[int]:
        """Return the processes that run a service's function."""
        name, found = self.output(service, "FunctionName"), []
        for process in marked(self.record.mark):
            with suppress(psutil.Error):
                if process.environ().get("AWS_LAMBDA_FUNCTION_NAME") == name:
                    found.append(process.pid)
        return found

    def end(self) -> None:
        """Take the stage down and delete its data."""
        local.down(self.record.folder, say=lambda _: None)

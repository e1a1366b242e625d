"""The SNS topic whose subscribers are notified."""

from typing import TYPE_CHECKING

from services.summarizer.notification import Notification

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

_SYNCS_IN_ATTRIBUTES = 20


class NotificationTopic:
    """A topic. Subscribers can filter by a message's attributes; `summary_id` and `number` identify a repetition."""

    def __init__(self, client: "SNSClient", arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, notification: Notification) -> None:
        """Publish one message."""
        self._client.publish(
            TopicArn=self._arn,
            Subject=notification.subject,
            Message=notification.text,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in _attributes(notification).items()
            },
        )


def _attributes(notification: Notification) -> dict[str, str]:
    """Return the attributes. The last three hold one value per sync, separated by commas."""
    announced = notification.announcements[:_SYNCS_IN_ATTRIBUTES]
    return {
        "severity": notification.severity,
        "event": notification.about,
        "sync_id": ",".join(notification.sync_ids[:_SYNCS_IN_ATTRIBUTES]),
        "summary_id": ",".join(summary_id for summary_id, _ in announced),
        "number": ",".join(str(number) for _, number in announced),
    }

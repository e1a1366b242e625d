"""How many messages a queue holds."""

from collections.abc import Mapping
from typing import Any

DELIVERABLE = "waiting"
WORDS: Mapping[str, str] = {
    "ApproximateNumberOfMessages": DELIVERABLE,
    "ApproximateNumberOfMessagesNotVisible": "in work",
    "ApproximateNumberOfMessagesDelayed": "delayed",
}
"""What SQS counts, and what people call it."""


def messages_in(sqs: Any, queue: str) -> Mapping[str, int]:
    """Return how many messages the queue with this URL holds, by the words above. SQS counts with some delay."""
    answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return {word: int(answer.get(name, "0")) for name, word in WORDS.items()}

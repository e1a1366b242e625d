"""What the services behind webhooks and heartbeats expect. Imports no CDK: settings and commands read it, too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SENT = {name: f"$.detail.data.{name}" for name in ("notification_id", "about", "severity", "subject", "text", "link")}
SENT["sync_id"] = "$.detail.metadata.sync_id"
"""The values of an `OperatorsNotified` that a body may hold, and where they are in the event.

A body holds a value only as the whole of a JSON value, `<subject>`. There EventBridge adds the quotes and escapes what
the value holds; within a longer string it would put a quote or a line break in as it is, which is no JSON any more.
"""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One service that takes notifications by HTTP."""

    title: str
    asks: str  # for its address
    body: Mapping[str, Any]  # of the request, with values such as "<subject>"
    recipient: str = ""  # the field of the body that says to whom; its value is as secret as the address
    asks_recipient: str = ""
    takes_header: bool = False  # whether it may want a header that authenticates


# The parts of a secret about one webhook or heartbeat, each under its name: `slack_url`, `slack_header`, …
Part = Literal["url", "header", "header_value", "recipient"]


def secret_name(stack_name: str) -> str:
    """Return the name of the secret with the addresses. It is no resource of the stack: it has to be there before."""
    return f"{stack_name}-webhooks"


def secret_key(service: str, part: Part) -> str:
    """Return the name of a value in that secret."""
    return f"{service}_{part}"


WEBHOOKS: Mapping[str, Webhook] = {
    # Blocks with what is sent as plain text: in Slack's markup, `<!channel>` in a file's name would ring for everyone.
    "slack": Webhook(
        title="Slack",
        asks="the address of an incoming webhook, https://hooks.slack.com/services/…",
        body={
            "text": "<subject>",
            "blocks": [
                {
                    "type": "rich_text",
                    "elements": [
                        {"type": "rich_text_section", "elements": [{"type": "text", "text": "<text>"}]},
                        {
                            "type": "rich_text_section",
                            "elements": [{"type": "link", "url": "<link>", "text": "Open in the AWS console"}],
                        },
                    ],
                }
            ],
        },
    ),
    "discord": Webhook(
        title="Discord",
        asks="the address of a channel's webhook, https://discord.com/api/webhooks/…",
        body={"content": "<text>", "allowed_mentions": {"parse": []}, "flags": 4},  # 4: without previews of links
    ),
    "ntfy": Webhook(
        title="ntfy",
        asks="the address of the topic, such as https://ntfy.sh/your-secret-topic",
        body={"title": "<subject>", "message": "<text>", "click": "<link>", "tags": ["<severity>"]},
        recipient="topic",
        takes_header=True,
    ),
    "telegram": Webhook(
        title="Telegram",
        asks="the token of your bot, from @BotFather",
        body={"text": "<text>", "link_preview_options": {"is_disabled": True}},
        recipient="chat_id",
        asks_recipient="the id of the chat, such as 123456789 or -1001234567890",
    ),
    "json": Webhook(
        title="your own service",
        asks="its address; it is sent a JSON object by POST",
        body={name: f"<{name}>" for name in SENT},
        takes_header=True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """One service that expects to hear of every sync. What follows its address says which of the three it is."""

    title: str
    asks: str
    success: str
    failure: str
    begin: str | None = None  # None: it knows no beginning

    @property
    def ends(self) -> Mapping[str, str]:
        """What follows the address, by state."""
        known = {"begin": self.begin, "success": self.success, "failure": self.failure}
        return {state: end for state, end in known.items() if end is not None}


HEARTBEATS: Mapping[str, Heartbeat] = {
    "healthchecks": Heartbeat(
        title="Healthchecks",
        asks="the check's ping URL, such as https://hc-ping.com/<uuid>",
        begin="/start",
        success="",
        failure="/fail",
    ),
    "cronitor": Heartbeat(
        title="Cronitor",
        asks="the monitor's telemetry URL, https://cronitor.link/p/<API key>/<monitor>",
        begin="?state=run",
        success="?state=complete",
        failure="?state=fail",
    ),
    "uptime-kuma": Heartbeat(
        title="Uptime Kuma",
        asks="the push monitor's URL up to the token, https://<host>/api/push/<token>",
        success="?status=up&msg=OK",
        failure="?status=down&msg=failed",
    ),
}

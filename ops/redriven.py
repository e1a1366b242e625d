"""Follows redriven dead letters: whether their work succeeded, or failed again and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ops.dead_letters import DeadLetter, failures, reasons
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.queues import DELIVERABLE, messages_in
from ops.watch import poll_seconds
from services.shared.clock import Clock
from services.shared.library.records import MediumRecord, Status

# SQS counts messages with some delay, and a paused download is in no queue for a moment.
_QUIET_SECONDS, _QUIET_SECONDS_LOCALLY = 60.0, 5.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a dead letter."""

    letter: DeadLetter
    succeeded: bool
    text: str  # for the operator; may hold text from elsewhere


class Redriven:
    """Dead letters of one service. Call `remember` before they are sent, and `results` afterwards."""

    def __init__(self, deployment: Deployment, service: str, *, clock: Clock) -> None:
        self._deployment = deployment
        self._service = service
        self._clock = clock
        self._before: Mapping[str, MediumRecord] = {}

    def remember(self, letters: Sequence[DeadLetter]) -> None:
        """Remember how the letters' media stand, so that a failure after this can be told from the one before."""
        self._before = self._media(letters)

    def results(self, letters: Sequence[DeadLetter], *, timeout: float | None) -> Iterator[Result]:
        """Yield a result for each letter as soon as it is known. Raises `OperatorError` after `timeout` seconds."""
        pending = list(letters)
        began = moved = self._clock.monotonic()
        quiet = _QUIET_SECONDS_LOCALLY if self._deployment.endpoint_url else _QUIET_SECONDS
        while pending:
            now = self._clock.monotonic()
            moved = moved if self._is_idle(pending) else now
            found = self._found(pending, is_over=now - moved >= quiet)
            yield from found
            pending = [letter for letter in pending if letter not in {result.letter for result in found}]
            if pending and timeout is not None and now - began >= timeout:
                raise OperatorError(
                    f"After {now - began:.0f} s {len(pending)} of {len(letters)} have no result. The work goes on."
                )
            if pending:
                self._clock.sleep(poll_seconds(self._deployment))

    def _found(self, pending: Sequence[DeadLetter], *, is_over: bool) -> list[Result]:
        """Return the results that are known now. `is_over`: the service has no more work."""
        media = self._media(pending)
        again = self._dead_again(pending)
        found = []
        for letter in pending:
            before, record = self._before.get(letter.media_id), media.get(letter.media_id)
            failed_at = before.failed_at if before else None
            if letter.body in again:
                found.append(Result(letter=letter, succeeded=False, text=again[letter.body]))
            elif record and record.status == Status.STORED and (is_over or self._is_tallied(letter)):
                found.append(Result(letter=letter, succeeded=True, text="stored"))
            elif record and record.status == Status.FAILED and record.failed_at != failed_at:
                found.append(Result(letter=letter, succeeded=False, text=record.reason or "no reason known"))
            elif is_over and letter.media_id:
                found.append(Result(letter=letter, succeeded=False, text="nothing came of it: see the service's log"))
            elif is_over:
                found.append(Result(letter=letter, succeeded=True, text="done"))
        return found

    def _is_tallied(self, letter: DeadLetter) -> bool:
        """Return whether the letter's sync knows, too, that its medium is stored: then `watch` shows it."""
        key = {"sync_id": letter.sync_id, "record": f"medium#{letter.media_id}"}
        found = self._deployment.table("SyncsTableName").get_item(Key=key).get("Item")
        return found is None or found.get("state") == "DOWNLOADED"

    def _dead_again(self, pending: Sequence[DeadLetter]) -> dict[str, str]:
        """Return why messages are dead letters again, by their bodies."""
        if not self._messages_in(self._deployment.dead_letters(self._service))[DELIVERABLE]:
            return {}
        bodies = {letter.body for letter in pending}
        again = [letter for letter in failures(self._deployment, [self._service]) if letter.body in bodies]
        why = reasons(self._deployment, again)
        return {letter.body: why.get(letter.message_id, "a dead letter again") for letter in again}

    def _is_idle(self, pending: Sequence[DeadLetter]) -> bool:
        """Return whether the service's inbox is empty and no worker has one of the letters' media."""
        if any(self._messages_in(self._deployment.inbox(self._service)).values()):
            return False
        now = self._clock.now()
        return not any(record.is_leased(now) for record in self._media(pending).values())

    def _messages_in(self, queue: str) -> Mapping[str, int]:
        return messages_in(self._deployment.client("sqs"), queue)

    def _media(self, letters: Sequence[DeadLetter]) -> Mapping[str, MediumRecord]:
        return self._deployment.library().media({letter.media_id for letter in letters if letter.media_id})

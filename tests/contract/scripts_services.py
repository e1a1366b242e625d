"""The services' own code that talks to AWS, by itself: whatever it asks, in the words in which it asks it."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from services.authenticator.ledger import Ledger
from services.authenticator.once import Once, Outcome
from services.authenticator.vault import Vault
from services.downloader.lease import Lease, Library
from services.downloader.transfer import Bucket, Limits, Upload
from services.downloader.transfer.origin import Version
from services.lister.archive import Archive, FrozenListing, LastListing
from services.lister.walk import Walk
from services.shared.bus import Bus
from services.shared.events import LibraryListed, MediaDiscovered
from services.shared.gopro.session import Session
from services.shared.library import medium_records
from services.summarizer.announcing import reports_in, sns_topic
from services.summarizer.report import Notification
from services.summarizer.review import is_empty
from services.summarizer.sync import Announcement, Medium, Quiet, Sync
from services.summarizer.syncs import MEDIA_PER_WRITE, SyncsTable
from tests.contract.aws_stages import BUS, EMPTY_SECRET, SECRET
from tests.contract.transcripts import Calls, Difference, refused, script
from tests.simulation.alone import SOURCE

METADATA = {"media-id": "m", "item": "1"}
_UPLOAD_ENDED = "API reference of UploadPart: NoSuchUpload, also where the upload was completed"
BEGAN = datetime(2026, 8, 14, 2, 0, 7, 250_000, tzinfo=UTC)
_NO_VALUE = "API reference of GetSecretValue: ResourceNotFoundException, as of a secret without the version AWSCURRENT"


class Clock:
    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def tell(aws: Calls, call: Callable[[], Any]) -> Any:
    """What the services' code returns or raises is a step, too."""
    try:
        result = call()
    except (AttributeError, NameError, TypeError):  # a script's mistake, which all stages would answer alike
        raise
    except Exception as error:  # noqa: BLE001  # which one is compared
        aws.step("raised", type(error).__name__)
        return None
    aws.step("returned", repr(result))
    return result


def taken(until: datetime, at: str, epoch: int) -> dict[str, Any]:
    return {
        "status": "DOWNLOADING", "lease_until": int(until.timestamp()), "tried_at": at, "epoch": epoch,
        "sync_id": "s", "filename": "ä.MP4", "captured_at": "",
    }  # fmt: skip


FIRST = taken(BEGAN + timedelta(seconds=110), "2026-08-14T02:00:07Z", 1)
LATER = taken(BEGAN + timedelta(seconds=310), "2026-08-14T02:03:27Z", 2)
_UPDATED = (
    "API reference of UpdateItem: UPDATED_NEW returns the attributes that were updated, whatever they were, no others"
)


@script(
    *[
        Difference(of="moto", step=f"update_item {number}", answers={"Attributes": answer},
                   aws={"Attributes": aws}, known_from=_UPDATED)
        for number, aws, answer in (
            (1, FIRST, {**FIRST, "media_id": "m", "item": 0}),
            (4, LATER, {name: LATER[name] for name in ("lease_until", "tried_at", "epoch")}),
            *[
                (number, {**LATER, "epoch": epoch}, {**{name: LATER[name] for name in told}, "epoch": epoch})
                for number, epoch, told in (
                    (9, 3, ["lease_until"]),
                    (11, 4, ["lease_until", "status"]),
                    (14, 5, ["lease_until", "status"]),
                )
            ],
        )
    ]
)  # fmt: skip
def library_of_the_downloader(aws: Calls) -> None:
    clock = Clock()
    library = Library(aws.dynamodb.raising(), "files", now=clock, sleep=clock.pass_time)
    medium = MediaDiscovered(sync_id="s", media_id="m", type="Video", filename="ä.MP4", captured_at=None, item_count=2)

    def take(wanted: MediaDiscovered = medium) -> Any:
        return tell(aws, lambda: library.take(wanted))

    def look() -> None:
        tell(aws, lambda: library.files("m"))
        tell(aws, lambda: medium_records(aws.dynamodb.raising(), "files", ["m", "unknown", "m"]))

    first = take()
    take()  # busy
    tell(aws, lambda: library.save_file(first, 1, {"key": "k", "size": 2**40, "parts": [1, 2], "upload_id": None}))
    tell(aws, lambda: library.save_file(first, 10, {"key": "l"}))
    tell(aws, lambda: library.save_file(first, 2, {"key": "m"}))
    tell(aws, lambda: library.renew(first, bytes_done=5))
    look()
    clock.pass_time(200)
    second = take()
    tell(aws, lambda: library.renew(first, bytes_done=6))  # fenced
    tell(aws, lambda: library.save_file(first, 1, {"key": "other"}))
    tell(aws, lambda: library.stored(first, item_count=2, files=2, total_bytes=7))
    tell(aws, lambda: library.release(second))
    tell(aws, lambda: library.renew(second, bytes_done=6))  # given back
    third = take()
    tell(aws, lambda: library.failed(third, "gone: " + "ä" * 400))
    look()
    fourth = take()
    tell(aws, lambda: library.stored(fourth, item_count=2, files=3, total_bytes=2**40))
    look()
    take()  # stored
    take(replace(medium, item_count=3))  # it has grown
    tell(aws, lambda: library.renew(Lease(media_id="never taken", epoch=1), bytes_done=0))


@script()
def syncs_of_the_summarizer(aws: Calls) -> None:
    syncs = SyncsTable(aws.dynamodb.raising(), "syncs", sleep=lambda _: None, jitter=lambda: 0.5)
    opened = Sync(sync_id="s", version=1, requested_at="2026-11-23T01:00:00Z")
    listed = replace(opened, version=2, expected=0, warnings=("a", "b"), quiet=Quiet(version=2, reviewed_at="x"))
    closed = replace(
        listed,
        version=3,
        quiet=None,
        state="CLOSED",
        closed_because="stalled",
        announcement=Announcement(recovered=("m0",)),
        summary={"bytes": 10, "failures": [{"reason": "é", "seconds": 0.5}], "nothing": None},
    )
    media = [
        Medium(media_id=f"m{number}", state="DOWNLOADED", seconds=number + 0.25, late=number or None)
        for number in range(MEDIA_PER_WRITE)
    ]

    def look() -> None:
        tell(aws, lambda: syncs.read("s"))
        tell(aws, syncs.unsettled)

    look()
    tell(aws, lambda: syncs.write(None, opened))
    tell(aws, lambda: syncs.write(None, opened))  # begun already
    look()
    tell(aws, lambda: syncs.write(opened, listed, media[:3]))
    tell(aws, lambda: syncs.write(opened, replace(listed, listed=7), media[3:]))  # decided on what is no more
    tell(aws, lambda: syncs.all_media("s"))
    tell(aws, lambda: syncs.write(listed, closed, media))
    look()
    tell(aws, lambda: list(syncs.media("s", ["m1", "unknown", "m97"]).values()))
    tell(aws, lambda: syncs.claim(closed, now=100, until=200))
    tell(aws, lambda: syncs.claim(closed, now=100, until=300))  # another has it
    tell(aws, lambda: syncs.release(closed, until=200))
    tell(aws, lambda: syncs.claim(closed, now=100, until=300))
    tell(aws, lambda: syncs.mark_event_sent(closed))
    tell(aws, lambda: syncs.mark_notified(closed))
    tell(aws, lambda: syncs.claim(closed, now=400, until=500))  # told
    look()
    told = syncs.read("s")
    assert told is not None
    settled = replace(told, version=4, unsettled=False)
    tell(aws, lambda: syncs.write(told, settled))
    look()
    amended = replace(settled, version=5, unsettled=True, announcement=Announcement(number=1))
    tell(aws, lambda: syncs.write(settled, amended))
    tell(aws, lambda: syncs.mark_notified(closed))  # of an announcement that is another by now
    look()


@script(
    Difference(of="moto", step="update_item 2", answers={"Attributes": {"id": "session-version", "latest": 1}},
               aws={"Attributes": {"latest": 1}}, known_from=_UPDATED),
)  # fmt: skip
def ledger_of_the_authenticator(aws: Calls) -> None:
    clock = Clock()
    ledger = Ledger(aws.dynamodb.raising(), "records", now=clock, sleep=clock.pass_time)
    for above in (0, 0, 7):
        tell(aws, lambda above=above: ledger.next_session_version(above))
    tell(aws, ledger.claim_password)
    clock.pass_time(59)
    tell(aws, ledger.claim_password)
    clock.pass_time(1)
    tell(aws, ledger.claim_password)

    def inside(*, then: Callable[[], Any] = lambda: None) -> None:
        end = clock.now + timedelta(seconds=100)

        def remaining() -> float:
            return (end - clock.now).total_seconds()

        with ledger.refresh_lease(remaining):
            then()

    tell(aws, inside)
    tell(aws, lambda: inside(then=partial(tell, aws, inside)))  # the second waits until its time won't do
    tell(aws, lambda: inside(then=lambda: clock.pass_time(200)))  # its lease has ended when it gives it back
    tell(aws, lambda: inside(then=lambda: (clock.pass_time(200), tell(aws, inside))))


@script()
def what_the_authenticator_does_once(aws: Calls) -> None:
    """The calls are those of Powertools."""

    class Killed(BaseException):
        pass

    def end() -> Outcome:
        raise Killed

    def fail() -> Outcome:
        raise ValueError

    once = Once(aws.plain_dynamodb.raising(), "records", sleep=lambda _: None)

    def begin(sync_id: str, work: Callable[[], Outcome], remaining: float = 60.0) -> Any:
        return tell(aws, lambda: once.begin(sync_id, work, lambda: remaining))

    def busy() -> Outcome:
        begin("busy", Outcome, remaining=1.0)
        return Outcome(session_version=3)

    begin("busy", busy)
    begin("busy", Outcome)
    begin("fails", fail)
    begin("fails", lambda: Outcome(failed_because="ä"))
    begin("fails", Outcome)
    try:
        begin("killed", end, remaining=0.0)
    except Killed:
        time.sleep(0.01)
    begin("killed", lambda: Outcome(session_version=4))


@script(
    Difference(of="moto", step="upload_part 3", answers={"failed with": "KeyError"},
               aws=refused("NoSuchUpload"), known_from=_UPLOAD_ENDED),
    Difference(of="moto", step="raised 1", answers="Refused", aws="UploadGone", known_from=_UPLOAD_ENDED),
    Difference(
        of="moto",
        step="head_object 3",
        answers={"ContentLength": "0 parts and 3 bytes", "ETag": '"MD5 of b"', "Metadata": METADATA},
        aws={
            "ContentLength": "0 parts and 3 bytes",
            "ETag": '"MD5 of b"',
            "Metadata": METADATA,
            "ChecksumCRC64NVME": "CRC64NVME of b",
        },
        known_from="S3's guide, checking object integrity: an object has the checksum that it was sent with",
    ),
    moto={"again": "precondition"},
)  # fmt: skip
def bucket_of_the_downloader(aws: Calls) -> None:
    bucket = Bucket(aws.s3.raising(), aws.stage.bucket)
    limits = Limits(connections=1, memory_bytes=1)
    a, b = aws.body("a", parts=1), aws.body("b", more=3)
    whole = aws.joined(a=a, b=b)
    version = Version(size=len(whole), etag="e-2")

    def begin(key: str) -> Upload:
        large = Version(size=limits.part_size(version) * 2, etag="e-2")
        begun = bucket.begin(key, large, limits=limits, metadata=METADATA)
        return replace(begun, version=version, part_size=aws.stage.smallest_part)

    def call(work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # which one is compared
            aws.step("raised", type(error).__name__)

    upload = begin("in parts")
    bucket.put_part(upload, 1, a)
    again = bucket.resume(upload.upload_id, upload.key, version, part_size=upload.part_size)
    aws.step("resumed", sorted(again.parts))
    bucket.put_part(again, 2, bytearray(b))
    call(lambda: bucket.complete(again))
    call(lambda: bucket.put_part(upload, 2, b))
    call(lambda: bucket.resume(upload.upload_id, upload.key, version, part_size=upload.part_size))
    call(lambda: bucket.abort(upload.key, upload.upload_id))
    late = begin("in parts")
    bucket.put_part(late, 1, a)
    bucket.put_part(late, 2, b)
    call(lambda: bucket.complete(late))  # the key is taken
    call(lambda: bucket.abort(late.key, late.upload_id))
    call(lambda: bucket.complete(late))
    for _ in range(2):
        small = bucket.begin("in one", Version(size=len(b), etag="e"), limits=limits, metadata=METADATA)
        call(lambda small=small: bucket.put_part(small, 1, b))
    for key in ("in parts", "in one", "nowhere"):
        bucket.find(key)


@script()
def archive_of_the_lister(aws: Calls) -> None:
    archive = Archive(aws.s3.raising(), aws.stage.bucket, sleep=lambda _: None)
    listing = FrozenListing(media=(), listed=7, stored=1, pending=2, deferred=3, warnings=("ä",))
    tell(aws, lambda: archive.frozen("s"))
    tell(aws, lambda: archive.freeze("s", listing))
    tell(aws, lambda: archive.freeze("s", replace(listing, listed=8)))
    tell(aws, lambda: archive.frozen("s"))
    key = tell(aws, lambda: archive.keep_walk("s", 1, Walk(page=4)))
    tell(aws, lambda: archive.walk(key))
    tell(aws, lambda: archive.walk("listings/s/2.json"))
    tell(aws, archive.last)
    for total in (7, 8):
        tell(aws, lambda total=total: archive.keep_last(LastListing(sync_id="s", listed_at="x", total=total)))
        tell(aws, archive.last)
    tell(aws, lambda: reports_in(aws.s3.raising(), aws.stage.bucket)("reports/s.json", b"{}"))


@script(
    Difference(of="embedded", step="get_secret_value 5", answers={},
               aws=refused("ResourceNotFoundException"), known_from=_NO_VALUE),
)  # fmt: skip
def vault_of_the_authenticator(aws: Calls) -> None:
    client = aws.secretsmanager.raising()
    vault = Vault(client, credentials_secret=EMPTY_SECRET, refresh_secret="none", session_secret=SECRET)
    tell(aws, vault.session)
    session = Session(access_token="token", version=1, obtained_at="2026-08-14T00:00:00Z")
    for version in (1, 2):
        tell(aws, lambda version=version: vault.keep_session(replace(session, version=version)))
        tell(aws, vault.session)
    tell(aws, lambda: vault.keep_session(replace(session, dead_because="ä")))
    tell(aws, vault.session)
    tell(aws, vault.credentials)


@script()
def what_all_services_publish(aws: Calls) -> None:
    bus = Bus(aws.events.raising(), name=BUS, source=SOURCE, now=Clock(), sleep=lambda _: None)
    events = [
        MediaDiscovered(sync_id="s", media_id=f"m{number}", type="Video", filename="\ud83d", captured_at=None)
        for number in range(12)
    ]
    tell(aws, lambda: bus.publish(events))
    tell(
        aws,
        lambda: bus.publish(
            [LibraryListed(sync_id="s", listed=1, stored=0, discovered=1, pending=0, deferred=0)], cause=events[0]
        ),
    )
    tell(aws, lambda: bus.publish([]))


@script()
def what_the_summarizer_asks_and_tells(aws: Calls) -> None:
    url = aws.stage.queues["inbox"]
    tell(aws, lambda: is_empty(aws.sqs.raising(), url))
    aws.stage.send("inbox", "one")
    tell(aws, lambda: is_empty(aws.sqs.raising(), url))
    aws.receive("inbox")
    tell(aws, lambda: is_empty(aws.sqs.raising(), url))
    notify = sns_topic(aws.sns.raising(), aws.stage.topic)
    told = Notification(
        subject="s", body="ä\nb", severity="info", event="SyncCompleted", sync_id="s", summary_id="i", number="0"
    )
    tell(aws, lambda: notify(told))
    aws.notifications()

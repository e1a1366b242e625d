"""What the services ask of S3, and what it answers."""

from typing import Any

from tests.contract.transcripts import Calls, crc64nvme, lax, refused, script

_ERRORS = "API reference of S3: error responses"
_COMPLETE = "API reference of CompleteMultipartUpload: errors"
_EMPTY = "Ceph's s3-tests, test_multipart_upload_empty, which are tried with AWS"

KEY = "gopro/2026/08/14/medium/GX010639.MP4"
WHOLE = "FULL_OBJECT"
HEADERS = {"ContentType": "video/mp4", "ContentDisposition": "attachment; filename*=UTF-8''GX010001.MP4"}
METADATA = {"media-id": "m", "item": "1", "origin-etag": "%22a%22"}


def part_of(aws: Calls, letter: str, more: int = 0) -> bytes:
    """Return the content of a part of the smallest size, and some bytes."""
    return letter.encode() * (aws.stage.smallest_part + more)


class Upload:
    """A multipart upload, with the checksums that the services send."""

    def __init__(self, aws: Calls, *, key: str = KEY, metadata: dict[str, str] | None = None) -> None:
        self.aws = aws
        self.where = {"Bucket": aws.stage.bucket, "Key": key}
        begun = aws.s3.create_multipart_upload(
            **self.where, **HEADERS, Metadata=metadata or {}, ChecksumAlgorithm="CRC64NVME", ChecksumType=WHOLE
        )
        self.where["UploadId"] = begun["UploadId"]

    def put(self, number: int, body: bytes, *, checksum: str = "", **where: str) -> dict[str, Any]:
        """The part as Complete lists it."""
        checksum = checksum or crc64nvme(body)
        answer = self.aws.s3.upload_part(
            **{**self.where, **where},
            PartNumber=number,
            Body=body,
            ContentLength=len(body),
            ChecksumCRC64NVME=checksum,
        )
        return {"PartNumber": number, "ETag": answer.get("ETag", ""), "ChecksumCRC64NVME": checksum}

    def parts(self, **where: str) -> None:
        self.aws.s3.pages("list_parts", **{**self.where, **where})

    def request(self, *parts: dict[str, Any], whole: bytes | None = None, **more: Any) -> dict[str, Any]:
        request: dict[str, Any] = {**self.where, "MultipartUpload": {"Parts": list(parts)}}
        if whole is not None:
            checksum = {"ChecksumCRC64NVME": crc64nvme(whole), "ChecksumType": WHOLE}
            request |= {"MpuObjectSize": len(whole), "IfNoneMatch": "*", **checksum}
        return {**request, **more}

    def complete(self, *parts: dict[str, Any], whole: bytes | None = None, **more: Any) -> Any:
        return self.aws.s3.complete_multipart_upload(**self.request(*parts, whole=whole, **more))

    def abort(self, **where: str) -> None:
        self.aws.s3.abort_multipart_upload(**{**self.where, **where})

    def look(self) -> None:
        look(self.aws, self.where["Key"])


def look(aws: Calls, key: str = KEY) -> None:
    aws.s3.head_object(Bucket=aws.stage.bucket, Key=key, ChecksumMode="ENABLED")
    aws.s3.get_object(Bucket=aws.stage.bucket, Key=key)


@script()
def objects_in_one_request(aws: Calls) -> None:
    look(aws)
    where = {"Bucket": aws.stage.bucket, "Key": KEY}
    for body in (b"first", b"and the second"):  # which is refused
        sent = {"Body": body, "ContentLength": len(body), "ChecksumCRC64NVME": crc64nvme(body)}
        aws.s3.put_object(**where, **sent, **HEADERS, Metadata=METADATA, IfNoneMatch="*")
        look(aws)
    aws.s3.head_object(**where)
    nothing = {"Body": bytearray(), "ContentLength": 0, "ChecksumCRC64NVME": crc64nvme(b"")}
    aws.s3.put_object(Bucket=aws.stage.bucket, Key="empty", **nothing)
    look(aws, "empty")
    aws.s3.put_object(Bucket=aws.stage.bucket, Key="bad", Body=b"body", ChecksumCRC64NVME=crc64nvme(b"other"))
    look(aws, "bad")
    aws.s3.losing_answer("put_object", Bucket=aws.stage.bucket, Key="lost", Body=b"lost", IfNoneMatch="*")
    look(aws, "lost")  # there, though the second try was refused


@script()
def documents_without_a_checksum_are_written_over(aws: Calls) -> None:
    where = {"Bucket": aws.stage.bucket, "Key": "listings/_last.json"}
    for name in ("older", "newer"):
        aws.s3.put_object(**where, Body=name.encode())
        look(aws, where["Key"])
    aws.s3.put_object(**where, Body=b"report", ContentType="application/json; charset=utf-8")
    aws.s3.put_object(**where, Body=b"frozen", IfNoneMatch="*")
    look(aws, where["Key"])


@script(*lax("put_object 2", aws=refused("KeyTooLongError"), known_from=_ERRORS))
def key_of_more_than_1024_bytes(aws: Calls) -> None:
    for length in (1024, 1025):
        aws.s3.put_object(Bucket=aws.stage.bucket, Key="k" * length, Body=b"")


@script()
def uploads_in_parts(aws: Calls) -> None:
    upload = Upload(aws, metadata={"media-id": "m", "item": "2"})
    upload.parts()
    a, b, c = part_of(aws, "a"), part_of(aws, "b", 2), b"c"
    unlisted = upload.put(4, c)
    parts = [upload.put(2, b), upload.put(1, a), upload.put(3, c)]
    parts.sort(key=lambda part: part["PartNumber"])
    upload.parts()
    upload.complete(parts[0], {**unlisted, "ETag": parts[0]["ETag"]})
    upload.complete(parts[0], {**unlisted, "PartNumber": 5})
    upload.complete(*parts, whole=a + b + c)
    upload.look()
    for body in (b"one small part", b""):
        small = Upload(aws, key="small")
        small.complete(small.put(1, body), whole=body)
        small.look()


@script()
def many_parts_are_listed_in_pages(aws: Calls) -> None:
    upload = Upload(aws)
    for number in (1, 2, 3, 4, 7, 10_000):
        upload.put(number, f"part {number}".encode())
    upload.parts()


@script()
def a_part_that_is_sent_again_replaces_the_first(aws: Calls) -> None:
    upload = Upload(aws)
    old, new, last = part_of(aws, "o"), part_of(aws, "n", 1), b"last"
    replaced = upload.put(1, old)
    part, end = upload.put(1, new), upload.put(2, last)
    upload.parts()
    upload.complete(replaced, end)
    upload.complete(part, end, whole=new + last)
    upload.look()


@script(
    *lax("complete_multipart_upload: out of order 1", "complete_multipart_upload: listed twice 1",
         aws=refused("InvalidPartOrder"), known_from=_COMPLETE),
    *lax("complete_multipart_upload: without parts 1", aws=refused("MalformedXML"), known_from=_EMPTY),
)  # fmt: skip
def completions_that_are_refused(aws: Calls) -> None:
    a, b, small = part_of(aws, "a"), part_of(aws, "b"), b"small"
    whole = a + b

    def begun(case: str) -> tuple[Upload, dict[str, Any], dict[str, Any]]:
        aws.case = case
        upload = Upload(aws, key=case)
        return upload, upload.put(1, a), upload.put(2, b)

    upload, one, two = begun("out of order")
    upload.complete(two, one, whole=whole)
    upload, one, _ = begun("listed twice")
    upload.complete(one, one)
    upload, _, _ = begun("without parts")
    upload.complete()
    upload, one, two = begun("another whole")
    upload.complete(one, two, whole=whole, ChecksumCRC64NVME=crc64nvme(b + a))
    upload.complete(one, two, whole=whole, MpuObjectSize=len(a))
    upload, one, two = begun("another part")  # S3's reference says only that the parts' checksums are verified
    upload.complete({**one, "ChecksumCRC64NVME": two["ChecksumCRC64NVME"]}, two, whole=whole)
    upload.put(1, small)
    upload.parts()
    upload.complete(upload.put(1, small), two)  # too small for any but the last
    upload.complete(upload.put(1, a), two, whole=whole)  # nothing has harmed the upload
    upload.look()


@script()
def completion_where_a_key_is_taken(aws: Calls) -> None:
    older, newer = Upload(aws), Upload(aws)
    a, b = part_of(aws, "a"), part_of(aws, "b")
    one, two = older.put(1, a), newer.put(1, b)
    newer.complete(two, whole=b)
    older.complete(one, whole=a)
    older.look()
    older.parts()
    older.complete(one)  # without a condition it writes over what is there
    older.look()


@script()
def parts_of_uploads_that_are_not_there(aws: Calls) -> None:
    a = b"aaa"
    for aws.case in ("another key", "another checksum", "completed", "aborted"):
        upload = Upload(aws, key=aws.case)
        part = upload.put(1, a)
        where: dict[str, Any] = {"Key": "other"} if aws.case == "another key" else {}
        checksum = crc64nvme(b"other") if aws.case == "another checksum" else ""
        if aws.case == "completed":
            upload.complete(part, whole=a)
        elif aws.case == "aborted":
            upload.abort()
        upload.put(2, a, checksum=checksum, **where)
        upload.parts(**where)
        if aws.case != "completed":
            upload.complete(part, **where)
        upload.abort(**where)
        upload.parts()
        upload.look()


@script(again="answered")
def answers_that_were_lost(aws: Calls) -> None:
    upload, a = Upload(aws), b"aaa"
    request = upload.request(upload.put(1, a), whole=a)
    aws.s3.losing_answer("complete_multipart_upload", **request)
    upload.look()
    where = {"Bucket": aws.stage.bucket, "Key": KEY}
    begun = aws.s3.losing_answer(
        "create_multipart_upload", **where, Metadata={}, ChecksumAlgorithm="CRC64NVME", ChecksumType=WHOLE
    )
    upload.where["UploadId"] = begun["UploadId"]  # the second that was made
    upload.parts()
    aws.s3.losing_answer("abort_multipart_upload", **upload.where)  # gone already

"""What the services ask of S3, and what it answers."""

from typing import Any

from tests.contract.transcripts import Calls, Difference, crc64nvme, refused, script

_ERRORS = "API reference of S3: error responses"
_COMPLETE = "API reference of CompleteMultipartUpload: errors"
_CHECKS = "S3's guide, checking object integrity: what doesn't have the checksum that it was sent with is refused"
_PART_CHECKS = "the embedded AWS, and the error's text; S3's reference says only that the parts' checksums are verified"
_EMPTY = "Ceph's s3-tests, test_multipart_upload_empty, which are tried with AWS"
_UPLOAD_ID = "API reference of S3: an upload id is one of a bucket and a key"

KEY = "gopro/2026/08/14/medium/GX010639.MP4"
WHOLE = "FULL_OBJECT"
PART_A = {"PartNumber": 1, "Size": "0 parts and 3 bytes", "ETag": '"MD5 of a"'}
METADATA = {"media-id": "m", "item": "1", "origin-etag": "%22a%22"}


class Upload:
    """A multipart upload, with the checksums that the services send."""

    def __init__(self, aws: Calls, *, key: str = KEY, metadata: dict[str, str] | None = None) -> None:
        self.aws = aws
        self.where = {"Bucket": aws.stage.bucket, "Key": key}
        begun = aws.s3.create_multipart_upload(
            **self.where, Metadata=metadata or {}, ChecksumAlgorithm="CRC64NVME", ChecksumType=WHOLE
        )
        self.where["UploadId"] = begun["UploadId"]

    def put(self, number: int, body: bytes, *, checksum: str = "", **where: str) -> dict[str, Any]:
        """As Complete lists it."""
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
        self.aws.s3.get_paginator("list_parts").paginate(**{**self.where, **where})

    def request(self, *parts: dict[str, Any], whole: bytes | None = None, **more: Any) -> dict[str, Any]:
        request = {**self.where, "MultipartUpload": {"Parts": list(parts)}}
        if whole is not None:
            checksum = {"ChecksumCRC64NVME": crc64nvme(whole), "ChecksumType": WHOLE}
            request |= {"MpuObjectSize": len(whole), "IfNoneMatch": "*", **checksum}
        return {**request, **more}

    def complete(self, *parts: dict[str, Any], whole: bytes | None = None, **more: Any) -> Any:
        return self.aws.s3.complete_multipart_upload(**self.request(*parts, whole=whole, **more))

    def abort(self, **where: str) -> None:
        self.aws.s3.abort_multipart_upload(**{**self.where, **where})

    def look(self) -> None:
        where = {name: self.where[name] for name in ("Bucket", "Key")}
        self.aws.s3.head_object(**where, ChecksumMode="ENABLED")
        self.aws.s3.get_object(**where)


@script(
    Difference(
        of="moto",
        step="head_object 2",
        answers={"ContentLength": "0 parts and 4 bytes", "ETag": '"MD5 of first"', "Metadata": METADATA},
        aws={
            "ContentLength": "0 parts and 4 bytes",
            "ETag": '"MD5 of first"',
            "Metadata": METADATA,
            "ChecksumCRC64NVME": "CRC64NVME of first",
        },
        known_from=_CHECKS,
    )
)
def objects_in_one_request(aws: Calls) -> None:
    where = {"Bucket": aws.stage.bucket, "Key": KEY}
    aws.s3.head_object(**where, ChecksumMode="ENABLED")
    aws.s3.get_object(**where)
    first, second = aws.body("first", more=4), aws.body("second", more=3)
    request = {**where, "Metadata": METADATA, "IfNoneMatch": "*"}
    aws.s3.put_object(**request, Body=first, ContentLength=len(first), ChecksumCRC64NVME=crc64nvme(first))
    aws.s3.head_object(**where, ChecksumMode="ENABLED")
    aws.s3.head_object(**where)
    aws.s3.get_object(**where)
    aws.s3.put_object(**request, Body=second, ContentLength=len(second), ChecksumCRC64NVME=crc64nvme(second))
    aws.s3.get_object(**where)


@script(
    Difference(
        of="moto",
        step="head_object 1",
        answers={"ContentLength": "0 parts and 0 bytes", "ETag": '"MD5 of nothing"', "Metadata": {}},
        aws={
            "ContentLength": "0 parts and 0 bytes",
            "ETag": '"MD5 of nothing"',
            "Metadata": {},
            "ChecksumCRC64NVME": "CRC64NVME of nothing",
        },
        known_from=_CHECKS,
    )
)
def object_of_no_bytes(aws: Calls) -> None:
    where = {"Bucket": aws.stage.bucket, "Key": KEY}
    nothing = aws.body("nothing")
    aws.s3.put_object(
        **where, Body=bytearray(), ContentLength=0, ChecksumCRC64NVME=crc64nvme(nothing), Metadata={}, IfNoneMatch="*"
    )
    aws.s3.head_object(**where, ChecksumMode="ENABLED")
    aws.s3.get_object(**where)


@script()
def documents_without_a_checksum_are_written_over(aws: Calls) -> None:
    where = {"Bucket": aws.stage.bucket, "Key": "listings/_last.json"}
    for name in ("older", "newer"):
        aws.s3.put_object(**where, Body=aws.body(name, more=4))
        aws.s3.head_object(**where, ChecksumMode="ENABLED")
        aws.s3.get_object(**where)
    aws.s3.put_object(**where, Body=aws.body("report", more=4), ContentType="application/json; charset=utf-8")
    aws.s3.put_object(**where, Body=aws.body("frozen", more=4), IfNoneMatch="*")
    aws.s3.get_object(**where)


@script(
    Difference(of="moto", step="put_object 1", answers={"ETag": '"MD5 of body"'},
               aws=refused("BadDigest"), known_from=_CHECKS),
    Difference(of="moto", step="get_object 1", answers={"Body": "CRC64NVME of body"},
               aws=refused("NoSuchKey"), known_from=_CHECKS),
)  # fmt: skip
def put_with_a_wrong_checksum(aws: Calls) -> None:
    where = {"Bucket": aws.stage.bucket, "Key": KEY}
    body = aws.body("body", more=4)
    aws.s3.put_object(**where, Body=body, ContentLength=len(body), ChecksumCRC64NVME=crc64nvme(b"other"))
    aws.s3.get_object(**where)


@script()
def put_whose_answer_was_lost_fails_on_itself(aws: Calls) -> None:
    where = {"Bucket": aws.stage.bucket, "Key": KEY}
    body = aws.body("body", more=4)
    aws.s3.losing_answer("put_object", **where, Body=body, IfNoneMatch="*")
    aws.s3.get_object(**where)


@script(
    *[
        Difference(of=of, step="put_object 2", answers={"ETag": '"MD5 of nothing"'},
                   aws=refused("KeyTooLongError"), known_from=_ERRORS)
        for of in ("moto", "embedded")
    ]
)  # fmt: skip
def key_of_more_than_1024_bytes(aws: Calls) -> None:
    for length in (1024, 1025):
        aws.s3.put_object(Bucket=aws.stage.bucket, Key="k" * length, Body=aws.body("nothing"))


@script()
def uploads_in_parts(aws: Calls) -> None:
    upload = Upload(aws, metadata={"media-id": "m", "item": "2"})
    upload.parts()
    a, b, c = aws.body("a", parts=1), aws.body("b", parts=1, more=2), aws.body("c", more=1)
    parts = [upload.put(2, b), upload.put(1, a), upload.put(3, c)]
    parts.sort(key=lambda part: part["PartNumber"])
    upload.parts()
    whole = aws.joined(a=a, b=b, c=c)
    upload.complete(*parts, whole=whole)
    upload.look()


@script()
def many_parts_are_listed_in_pages(aws: Calls) -> None:
    upload = Upload(aws)
    for number in (1, 2, 3, 4, 7, 10_000):
        upload.put(number, aws.body(f"{number}", more=2))
    upload.parts()


@script()
def part_that_is_sent_again_takes_the_place_of_the_first(aws: Calls) -> None:
    upload = Upload(aws)
    old, new, last = aws.body("old", parts=1), aws.body("new", parts=1, more=1), aws.body("last", more=1)
    replaced = upload.put(1, old)
    part, end = upload.put(1, new), upload.put(2, last)
    upload.parts()
    upload.complete(replaced, end)
    upload.complete(part, end, whole=aws.joined(new=new, last=last))
    upload.look()


@script()
def only_listed_parts_become_the_object(aws: Calls) -> None:
    upload = Upload(aws)
    a, c = aws.body("a", parts=1), aws.body("c", more=3)
    parts = [upload.put(1, a), upload.put(3, c)]
    upload.put(2, aws.body("b", parts=1))
    upload.complete(*parts, whole=aws.joined(a=a, c=c))
    upload.look()


@script()
def one_part_of_any_size_is_enough(aws: Calls) -> None:
    upload = Upload(aws)
    only = aws.body("only", more=1)
    upload.complete(upload.put(1, only), whole=aws.joined(only=only))
    upload.look()
    empty = Upload(aws, key="empty")
    nothing = aws.body("nothing")
    empty.complete(empty.put(1, nothing), whole=aws.joined(nothing=nothing))
    empty.look()


@script()
def completions_that_are_refused(aws: Calls) -> None:
    """None of them harms the upload: in the end it is completed."""
    upload = Upload(aws)
    a, b = aws.body("a", parts=1), aws.body("b", more=4)
    one, two = upload.put(1, a), upload.put(2, b)
    whole = aws.joined(a=a, b=b)
    upload.complete(one, {**two, "ETag": one["ETag"]}, whole=whole)
    upload.complete(one, {**two, "PartNumber": 3}, whole=whole)
    upload.complete(one, two, whole=whole)
    upload.look()


@script(
    Difference(of="moto", step="complete_multipart_upload 1",
               answers={"ETag": '"ETag of b+a"'},
               aws=refused("InvalidPartOrder"), known_from=_COMPLETE),
    Difference(of="embedded", step="complete_multipart_upload 1",
               answers={"ETag": '"ETag of a+b"', "ChecksumCRC64NVME": "CRC64NVME of a+b"},
               aws=refused("InvalidPartOrder"), known_from=_COMPLETE),
)  # fmt: skip
def completion_with_parts_out_of_order(aws: Calls) -> None:
    upload = Upload(aws)
    a, b = aws.body("a", parts=1), aws.body("b", parts=1)
    one, two = upload.put(1, a), upload.put(2, b)
    aws.joined(b=b, a=a)
    upload.complete(two, one, whole=aws.joined(a=a, b=b))


@script(
    Difference(of="moto", step="complete_multipart_upload 1",
               answers={"ETag": '"ETag of first+again"'},
               aws=refused("InvalidPartOrder"), known_from=_COMPLETE),
    Difference(of="embedded", step="complete_multipart_upload 1",
               answers={"ETag": '"ETag of first+again"', "ChecksumCRC64NVME": "CRC64NVME of first+again"},
               aws=refused("InvalidPartOrder"), known_from=_COMPLETE),
)  # fmt: skip
def completion_with_a_part_listed_twice(aws: Calls) -> None:
    upload = Upload(aws)
    a = aws.body("a", parts=1)
    one = upload.put(1, a)
    upload.complete(one, one, whole=aws.joined(first=a, again=a))


@script(
    Difference(of="embedded", step="complete_multipart_upload 1",
               answers={"ETag": '"ETag of "', "ChecksumCRC64NVME": "CRC64NVME of "},
               aws=refused("MalformedXML"), known_from=_EMPTY),
)  # fmt: skip
def completion_without_parts(aws: Calls) -> None:
    upload = Upload(aws)
    upload.put(1, aws.body("a", parts=1))
    aws.joined()
    upload.complete()


@script(
    Difference(of="moto", step="complete_multipart_upload 1",
               answers={"ETag": '"ETag of a+b"'},
               aws=refused("BadDigest"), known_from=_CHECKS),
)  # fmt: skip
def completion_with_a_wrong_checksum_of_the_whole(aws: Calls) -> None:
    upload = Upload(aws)
    a, b = aws.body("a", parts=1), aws.body("b", more=4)
    upload.complete(upload.put(1, a), upload.put(2, b), whole=aws.joined(a=a, b=b), ChecksumCRC64NVME=crc64nvme(b + a))


@script(
    Difference(of="moto", step="complete_multipart_upload 1",
               answers={"ETag": '"ETag of a+b"'},
               aws=refused("InvalidPart"), known_from=_PART_CHECKS),
)  # fmt: skip
def completion_with_a_wrong_checksum_of_a_part(aws: Calls) -> None:
    upload = Upload(aws)
    a, b = aws.body("a", parts=1), aws.body("b", more=4)
    one, two = upload.put(1, a), upload.put(2, b)
    upload.complete({**one, "ChecksumCRC64NVME": two["ChecksumCRC64NVME"]}, two, whole=aws.joined(a=a, b=b))


@script(
    Difference(of="moto", step="complete_multipart_upload 1",
               answers={"ETag": '"ETag of a+b"'},
               aws=refused("InvalidRequest"), known_from=_COMPLETE),
)  # fmt: skip
def completion_with_another_size(aws: Calls) -> None:
    upload = Upload(aws)
    a, b = aws.body("a", parts=1), aws.body("b", more=4)
    upload.complete(upload.put(1, a), upload.put(2, b), whole=aws.joined(a=a, b=b), MpuObjectSize=len(a))


@script()
def completion_of_parts_that_are_too_small(aws: Calls) -> None:
    upload = Upload(aws)
    a, b = aws.body("a", more=4), aws.body("b", more=4)
    upload.complete(upload.put(1, a), upload.put(2, b), whole=a + b)
    upload.parts()


@script()
def completion_where_a_key_is_taken(aws: Calls) -> None:
    upload = Upload(aws)
    aws.s3.put_object(Bucket=aws.stage.bucket, Key=KEY, Body=aws.body("first", more=4))
    a = aws.body("a", parts=1)
    part = upload.put(1, a)
    upload.complete(part, whole=aws.joined(a=a))
    upload.look()
    upload.parts()
    upload.complete(part)  # without a condition it writes over what is there
    upload.look()


@script(
    Difference(of="moto", step="upload_part 1", answers={"ETag": '"MD5 of a"'},
               aws=refused("BadDigest"), known_from=_CHECKS),
    Difference(of="moto", step="list_parts 1", answers={"Parts": [PART_A]}, aws={"Parts": []}, known_from=_CHECKS),
)  # fmt: skip
def part_with_a_wrong_checksum(aws: Calls) -> None:
    upload = Upload(aws)
    upload.put(1, aws.body("a", more=3), checksum=crc64nvme(b"other"))
    upload.parts()


@script(
    *[
        Difference(of="moto", step=step, answers={"failed with": "KeyError"},
                   aws=refused("NoSuchUpload"), known_from=_ERRORS)
        for step in ("upload_part 2", "complete_multipart_upload 1")
    ],
)  # fmt: skip
def upload_that_was_aborted(aws: Calls) -> None:
    upload = Upload(aws)
    a = aws.body("a", more=3)
    part = upload.put(1, a)
    upload.abort()
    upload.put(1, a)
    upload.parts()
    upload.complete(part, whole=a)
    upload.abort()
    upload.look()


@script(
    Difference(of="moto", step="upload_part 2", answers={"failed with": "KeyError"},
               aws=refused("NoSuchUpload"), known_from=_ERRORS),
)  # fmt: skip
def upload_that_was_completed(aws: Calls) -> None:
    upload = Upload(aws)
    a = aws.body("a", more=3)
    part = upload.put(1, a)
    upload.complete(part, whole=aws.joined(a=a))
    upload.put(2, a)
    upload.parts()
    upload.abort()
    upload.look()


@script(moto={"again": "answered"}, embedded={"again": "answered"})
def completion_that_is_repeated(aws: Calls) -> None:
    upload = Upload(aws)
    a = aws.body("a", more=3)
    request = upload.request(upload.put(1, a), whole=aws.joined(a=a))
    aws.s3.losing_answer("complete_multipart_upload", **request)
    upload.look()


@script(
    *[
        Difference(of="moto", step=step, answers=answers, aws=aws, known_from=_UPLOAD_ID)
        for step, answers, aws in (
            ("upload_part 2", {"ETag": '"MD5 of a"'}, refused("NoSuchUpload")),
            ("list_parts 1", {"Parts": [PART_A, {**PART_A, "PartNumber": 2}]}, refused("NoSuchUpload")),
            ("complete_multipart_upload 1", {"ETag": '"ETag of a"'}, refused("NoSuchUpload")),
            ("list_parts 2", refused("NoSuchUpload"), {"Parts": [{**PART_A, "ChecksumCRC64NVME": "CRC64NVME of a"}]}),
        )
    ],
)  # fmt: skip
def upload_of_another_key(aws: Calls) -> None:
    upload = Upload(aws)
    a = aws.body("a", more=3)
    aws.joined(a=a)
    part = upload.put(1, a)
    upload.put(2, a, Key="other")
    upload.parts(Key="other")
    upload.complete(part, Key="other")
    upload.abort(Key="other")
    upload.parts()


@script()
def two_uploads_for_one_key(aws: Calls) -> None:
    older, newer = Upload(aws), Upload(aws)
    a, b = aws.body("a", more=3), aws.body("b", more=3)
    one, two = older.put(1, a), newer.put(1, b)
    newer.complete(two, whole=aws.joined(b=b))
    older.complete(one, whole=aws.joined(a=a))
    older.look()
    older.parts()


@script()
def creation_whose_answer_was_lost_leaves_an_upload_that_works(aws: Calls) -> None:
    begun = aws.s3.losing_answer(
        "create_multipart_upload",
        Bucket=aws.stage.bucket, Key=KEY, Metadata={"media-id": "m"}, ChecksumAlgorithm="CRC64NVME", ChecksumType=WHOLE,
    )  # fmt: skip
    where = {"Bucket": aws.stage.bucket, "Key": KEY, "UploadId": begun["UploadId"]}
    aws.s3.get_paginator("list_parts").paginate(**where)
    aws.s3.losing_answer("abort_multipart_upload", **where)  # gone already

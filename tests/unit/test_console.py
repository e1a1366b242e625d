"""Links to the AWS console."""

import pytest

from services.shared.console import console_link


@pytest.mark.parametrize(
    ("arn", "begins"),
    [
        ("arn:aws:sqs:eu-central-1:123456789012:inbox", "https://eu-central-1.console.aws.amazon.com/s3/object/media?"),
        ("arn:aws-cn:sqs:cn-north-1:123456789012:inbox", "https://cn-north-1.console.amazonaws.cn/s3/object/media?"),
        (
            "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:inbox",
            "https://us-gov-west-1.console.amazonaws-us-gov.com/s3/object/media?",
        ),
        (
            "arn:aws-eusc:sqs:eusc-de-east-1:123456789012:inbox",
            "https://eusc-de-east-1.console.amazonaws-eusc.eu/s3/object/media?",
        ),
    ],
)
def test_an_object_is_found_in_the_console_of_its_partition_and_region(arn: str, begins: str) -> None:
    link = console_link("media", "reports/s 1&2.html", near=arn)
    assert link.startswith(begins)
    assert link.endswith(f"?region={arn.split(':')[3]}&prefix=reports%2Fs%201%262.html")

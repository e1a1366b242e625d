"""Which services of AWS the code of a function calls, by its permissions."""

from infra.endpoints import called


def test_code_calls_the_services_whose_actions_it_may_do() -> None:
    assert called(["s3:GetObject", "events:PutEvents", "xray:PutTraceSegments"]) == {"s3", "events", "xray"}


def test_what_lambda_does_with_the_role_is_no_call_of_the_code() -> None:
    by_lambda = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "logs:PutLogEvents", "ec2:CreateNetworkInterface"]
    assert called([*by_lambda, "kms:Decrypt"]) == set()
    assert called([*by_lambda, "sqs:ChangeMessageVisibility"]) == {"sqs"}


def test_an_endpoint_has_its_own_name() -> None:
    assert called(["cloudwatch:PutMetricData"]) == {"monitoring"}

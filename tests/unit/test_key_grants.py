"""What a role and AWS's services need of a KMS key."""

import pytest

from infra.key_grants import NEVER, OPERATIONS, of_account, of_services, operations, through


def test_a_role_needs_of_the_key_what_its_actions_ask_for_by_service() -> None:
    assert operations(["s3:GetObject", "sqs:ReceiveMessage", "sns:Publish"]) == {
        "s3": ("kms:Decrypt",),
        "sns": ("kms:Decrypt", "kms:GenerateDataKey"),
        "sqs": ("kms:Decrypt",),
    }
    assert operations(["s3:GetObject", "s3:PutObject"]) == {"s3": ("kms:Decrypt", "kms:GenerateDataKey")}


def test_reading_a_table_asks_for_less_than_writing_it() -> None:
    reads, writes = operations(["dynamodb:Query"])["dynamodb"], operations(["dynamodb:PutItem"])["dynamodb"]
    assert reads == ("kms:Decrypt", "kms:DescribeKey")
    assert set(reads) < set(writes)


def test_actions_that_touch_nothing_encrypted_need_nothing() -> None:
    assert operations(["sqs:DeleteMessage", "s3:AbortMultipartUpload"]) == {}
    assert operations(f"{service}:Anything" for service in NEVER) == {}


def test_an_action_that_nobody_has_thought_about_is_refused() -> None:
    """Else a function would be deployed that can't read what it may read."""
    with pytest.raises(KeyError, match="s3:GetObjectTagging"):
        operations(["s3:GetObjectTagging"])


def test_no_operation_is_a_wildcard() -> None:
    assert not [one for needed in OPERATIONS.values() for one in needed if "*" in one]


def test_the_key_is_used_through_a_service_of_the_region() -> None:
    condition = through("s3", region="eu-central-1", suffix="amazonaws.com")
    assert condition == {"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}


def test_services_of_aws_may_use_the_key_for_this_account_where_they_say_for_whom() -> None:
    here = {"partition": "aws", "region": "eu-central-1", "account": "123456789012", "stack": "cloud-sync-prod"}
    found = {one["Sid"]: one for one in of_services(**here, budget=True)}
    assert set(found) == {"EventBridgeSendsToQueues", "AlarmsPublish", "LogsEncrypt", "BudgetsPublish"}
    assert {sid for sid, one in found.items() if "Condition" not in one} == {"EventBridgeSendsToQueues"}
    assert found["LogsEncrypt"]["Principal"] == {"Service": "logs.eu-central-1.amazonaws.com"}
    assert all((one["Effect"], one["Resource"]) == ("Allow", "*") for one in found.values())
    own_account = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    logs = "arn:aws:logs:eu-central-1:123456789012:log-group"
    publish, everywhere = ["kms:Decrypt", "kms:GenerateDataKey*"], {"Effect": "Allow", "Resource": "*"}
    for sid, service in (("AlarmsPublish", "cloudwatch"), ("BudgetsPublish", "budgets")):
        principal = {"Service": f"{service}.amazonaws.com"}
        assert found[sid] == {
            **everywhere, "Sid": sid, "Principal": principal, "Action": publish, "Condition": own_account,
        }  # fmt: skip
    assert found["EventBridgeSendsToQueues"] == {
        **everywhere,
        "Sid": "EventBridgeSendsToQueues",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
    }
    assert found["LogsEncrypt"]["Action"] == [
        *("kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"),
    ]
    assert found["LogsEncrypt"]["Condition"] == {
        "ArnLike": {
            "kms:EncryptionContext:aws:logs:arn": [f"{logs}:cloud-sync-prod-*", f"{logs}:/aws/events/cloud-sync-prod"]
        }
    }
    assert "BudgetsPublish" not in {one["Sid"] for one in of_services(**here, budget=False)}


def test_the_accounts_own_policies_decide_about_its_roles() -> None:
    assert of_account(partition="aws-cn", account="123456789012") == {
        "Sid": "PoliciesOfTheAccountDecide",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws-cn:iam::123456789012:root"},
        "Action": "kms:*",
        "Resource": "*",
    }

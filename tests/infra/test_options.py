"""The options of a deployment: network, key, lock, boundary, tags, a given bucket, budget."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from infra import endpoints, key_grants
from ops import cost, uninstall
from services.shared.events import SERVICES
from tests.template import Synthesize
from tools.static.options import ARN, SUBNETS
from tools.template import ROOT, Resource, ServiceWiring, Template

LEFT: Mapping[str, str] = json.loads(Path(__file__).with_name("stateful_0_1_0.json").read_text())["resources"]
BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"
BUCKET = "a-bucket-of-mine"
LAMBDAS_INTERFACES = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}


@pytest.fixture(scope="session")
def everything(template: Synthesize) -> Template:
    """All that a stack can create."""
    return template(
        "prod",
        vpc="create",
        kms_key="create",
        object_lock_days=30,
        permissions_boundary=BOUNDARY,
        tags="team=video,cost-center=4711",
        monthly_budget_usd=25,
    )


@pytest.fixture(scope="session")
def given(template: Synthesize) -> Template:
    """All that a stack can be given."""
    return template(
        "prod",
        vpc="vpc-0123456789abcdef0",
        vpc_subnets=SUBNETS,
        vpc_functions="no_downloader",
        kms_key=ARN,
        media_bucket=BUCKET,
    )


TAKEN_BACK = {
    "media_bucket": BUCKET,
    "library_table": "library-left",
    "syncs_table": "syncs-left",
    "authenticator_table": "authenticator-left",
    "credentials_secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:credentials-AbCdEf",
    "refresh_secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:refresh-AbCdEf",
}


@pytest.fixture(scope="session")
def back(template: Synthesize) -> Template:
    """A stack that takes back what an earlier one has left."""
    return template("prod", **TAKEN_BACK)


def statements(stack: Template) -> list[Mapping[str, Any]]:
    return [one for policy in stack.of_type("AWS::IAM::Policy") for one in policy["PolicyDocument"]["Statement"]]


def actions(statements: Iterable[Mapping[str, Any]], effect: str = "Allow") -> set[str]:
    listed = [one["Action"] for one in statements if one["Effect"] == effect]
    return {action for one in listed for action in ([one] if isinstance(one, str) else one)}


def text(value: Any) -> str:
    """Return a value of a template with pseudo parameters filled in, and references as their resources' ids."""
    known = {
        "AWS::Partition": "aws",
        "AWS::Region": "us-east-1",
        "AWS::AccountId": "123456789012",
        "AWS::URLSuffix": "amazonaws.com",
    }
    match value:
        case {"Ref": name}:
            return known.get(name, str(name))
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{name}.{attribute}"
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(text, parts))
    return str(value)


def filled(value: Any) -> Any:
    """Return a part of a template in which each reference is a text."""
    if isinstance(value, Mapping) and not {"Ref", "Fn::GetAtt", "Fn::Join"} & value.keys():
        return {key: filled(one) for key, one in value.items()}
    return [filled(one) for one in value] if isinstance(value, list) else text(value)


# Upgrades


def test_no_option_changes_the_logical_id_of_anything_that_holds_something(
    prod: Template, everything: Template, given: Template
) -> None:
    for stack in (prod, everything):
        assert {name: stack.resources[name].body["Type"] for name in LEFT} == dict(LEFT)
    kept = {name: kind for name, kind in LEFT.items() if kind != "AWS::S3::Bucket"}
    assert {name: given.resources[name].body["Type"] for name in kept} == kept


def test_no_option_replaces_anything_that_holds_something(
    prod: Template, everything: Template, given: Template
) -> None:
    """CloudFormation replaces a resource when a property changes that can be set only at its creation."""
    compared = 0
    for stack in (everything, given):
        for name, resource in prod.resources.items():
            if name not in LEFT or name not in stack.resources:
                continue
            before, after = resource.properties, stack.resources[name].properties
            changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
            schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", LEFT[name]).schema
            at_creation = schema["createOnlyProperties"] + schema.get("conditionalCreateOnlyProperties", [])
            assert changed & {path.split("/")[2] for path in at_creation} == set(), name
            compared += bool(changed)
    assert compared > len(LEFT)


def test_a_bucket_that_is_no_longer_in_the_template_is_kept(prod: Template, given: Template) -> None:
    (media,) = prod.of_type("AWS::S3::Bucket")
    assert media.body["DeletionPolicy"] == "RetainExceptOnCreate"
    assert given.of_type("AWS::S3::Bucket") == []


# The key


STORES: Mapping[str, Callable[[Resource], Any]] = {
    "AWS::DynamoDB::Table": lambda one: one["SSESpecification"]["KMSMasterKeyId"],
    "AWS::SQS::Queue": lambda one: one["KmsMasterKeyId"],
    "AWS::SNS::Topic": lambda one: one["KmsMasterKeyId"],
    "AWS::SecretsManager::Secret": lambda one: one["KmsKeyId"],
    "AWS::Logs::LogGroup": lambda one: one["KmsKeyId"],
}


def key_of(stack: Template) -> str:
    keys = stack.of_type("AWS::KMS::Key")
    return f"{keys[0].id}.Arn" if keys else ARN


@pytest.mark.parametrize("kind", STORES)
def test_all_that_is_stored_is_encrypted_with_the_key(everything: Template, given: Template, kind: str) -> None:
    for stack in (everything, given):
        found = stack.of_type(kind)
        assert found
        assert {text(STORES[kind](one)) for one in found} == {key_of(stack)}
    for queue in everything.of_type("AWS::SQS::Queue"):
        assert "SqsManagedSseEnabled" not in queue.properties
    assert all(one["SSESpecification"]["SSEType"] == "KMS" for one in everything.of_type("AWS::DynamoDB::Table"))


def test_new_objects_are_encrypted_with_the_key_and_few_requests_to_it(everything: Template) -> None:
    (bucket,) = everything.of_type("AWS::S3::Bucket")
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert filled(rule["ServerSideEncryptionByDefault"]) == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": key_of(everything),
    }
    assert rule["BucketKeyEnabled"] is True


def test_the_key_is_kept_and_rotated(everything: Template, given: Template) -> None:
    (key,) = everything.of_type("AWS::KMS::Key")
    assert (key["EnableKeyRotation"], key.body["DeletionPolicy"]) == (True, "RetainExceptOnCreate")
    assert key.body["UpdateReplacePolicy"] == "Retain"
    assert given.of_type("AWS::KMS::Key") == []


def through(role_statements: Iterable[Mapping[str, Any]], key: str) -> dict[str, set[str]]:
    """Return what a role may do with the key, by the service through which it may."""
    found = {}
    for one in role_statements:
        if text(one["Resource"]) == key:
            service, _, rest = text(one["Condition"]["StringEquals"]["kms:ViaService"]).partition(".")
            assert (rest, list(one["Condition"])) == ("us-east-1.amazonaws.com", ["StringEquals"])
            found[service] = actions([one])
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_function_may_use_the_key_only_through_the_services_that_it_uses(
    everything: Template, given: Template, service: str
) -> None:
    for stack in (everything, given):
        allowed = through(stack.services[service].statements, key_of(stack))
        own = {action for action in actions(stack.services[service].statements) if not action.startswith("kms:")}
        assert allowed == {via: set(needed) for via, needed in key_grants.operations(own).items()}
        assert {"sqs": {"kms:Decrypt"}}.items() <= allowed.items(), "Lambda reads the inbox with the function's role"
        assert all(any(action.startswith(f"{via}:") for action in own) for via in allowed)
        assert actions(stack.services[service].statements, "Deny") & {"kms:Decrypt"} == set()


def test_the_downloader_may_do_with_the_key_what_an_upload_takes(everything: Template) -> None:
    allowed = through(everything.services["downloader"].statements, key_of(everything))
    assert allowed["s3"] == {"kms:Decrypt", "kms:GenerateDataKey"}
    assert allowed["secretsmanager"] == {"kms:Decrypt"}
    assert set(allowed) == {"s3", "secretsmanager", "dynamodb", "sqs"}


def test_a_key_that_is_created_now_cannot_be_that_of_a_bucket_that_was_there_before(template: Synthesize) -> None:
    stack = template("prod", kms_key="create", media_bucket=BUCKET)
    for service in stack.services.values():
        assert "s3" not in through(service.statements, key_of(stack))


def test_dead_letters_of_the_schedules_are_encrypted_by_the_schedules_role(everything: Template) -> None:
    (schedule, *_) = everything.of_type("AWS::Scheduler::Schedule")
    role = everything.referred(schedule["Target"]["RoleArn"])
    allowed = through(everything.statements_of(role), key_of(everything))
    assert allowed == {"sqs": {"kms:Decrypt", "kms:GenerateDataKey"}}


def test_the_keys_policy_lets_in_exactly_the_services_that_use_it_in_their_own_name(everything: Template) -> None:
    (key,) = everything.of_type("AWS::KMS::Key")
    account, *others = filled(key["KeyPolicy"]["Statement"])
    assert account["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    found = {
        one["Principal"]["Service"]: (sorted(actions([one])), one.get("Condition"))
        for one in others
        if one["Effect"] == "Allow"
    }
    own_account = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    logs = "arn:aws:logs:us-east-1:123456789012:log-group"
    publish = ["kms:Decrypt", "kms:GenerateDataKey*"]
    assert found == {
        "events.amazonaws.com": (["kms:Decrypt", "kms:GenerateDataKey"], None),
        "cloudwatch.amazonaws.com": (publish, own_account),
        "budgets.amazonaws.com": (publish, own_account),
        "logs.us-east-1.amazonaws.com": (
            ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": [
                        f"{logs}:cloud-sync-prod-*",
                        f"{logs}:/aws/events/cloud-sync-prod",
                    ]
                }
            },
        ),
    }


def test_whoever_may_send_to_a_queue_or_publish_to_the_topic_may_use_the_key(everything: Template) -> None:
    (key,) = everything.of_type("AWS::KMS::Key")
    let_in = {one["Principal"].get("Service") for one in filled(key["KeyPolicy"]["Statement"])}
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for policy in everything.of_type(kind):
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement["Effect"] == "Allow":
                    assert statement["Principal"]["Service"] in let_in


def test_every_log_group_has_a_name_that_the_keys_policy_covers(everything: Template) -> None:
    """CloudFormation names a log group without a name after the stack."""
    for log_group in everything.of_type("AWS::Logs::LogGroup"):
        assert log_group.properties.get("LogGroupName") in {None, "/aws/events/cloud-sync-prod"}


def test_no_finding_is_accepted_for_want_of_a_key_when_there_is_one(everything: Template) -> None:
    accepted = {
        one["id"]
        for resource in everything.resources.values()
        for one in resource.body.get("Metadata", {}).get("checkov", {}).get("skip", [])
    }
    assert accepted & {"CKV_AWS_26", "CKV_AWS_27", "CKV_AWS_119", "CKV_AWS_149", "CKV_AWS_158"} == set()


# The bucket and its lock


def test_a_lock_is_set_for_new_objects_and_an_administrator_can_lift_it(everything: Template, prod: Template) -> None:
    (bucket,) = everything.of_type("AWS::S3::Bucket")
    assert bucket["ObjectLockEnabled"] is True
    assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 30}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "ObjectLockEnabled" not in prod.of_type("AWS::S3::Bucket")[0].properties


def test_no_function_may_go_round_a_lock_or_change_a_bucket(everything: Template, given: Template) -> None:
    for stack in (everything, given):
        on_buckets = {action for action in actions(statements(stack)) if action.startswith("s3:")}
        assert on_buckets <= {
            "s3:GetObject",
            "s3:PutObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        }


def test_a_given_bucket_is_used_and_not_touched(given: Template, prod: Template) -> None:
    assert given.of_type("AWS::S3::Bucket") + given.of_type("AWS::S3::BucketPolicy") == []
    for name, service in given.services.items():
        if "MEDIA_BUCKET" in service.environment:
            assert service.environment["MEDIA_BUCKET"] == BUCKET
        granted = {text(one["Resource"]) for one in service.statements if "s3:" in str(one["Action"])}
        usual = {text(one["Resource"]) for one in prod.services[name].statements if "s3:" in str(one["Action"])}
        assert granted == {re.sub(r"^[^/]*", f"arn:aws:s3:::{BUCKET}", resource) for resource in usual}
    assert given.body["Outputs"]["MediaBucketName"]["Value"] == BUCKET


def test_a_stack_takes_back_what_an_earlier_one_has_left_and_changes_none_of_it(back: Template, prod: Template) -> None:
    of_storage = {name for name in prod.resources if name.startswith("Storage")}
    left = {name: prod.resources[name].body["Type"] for name in of_storage & back.resources.keys()}
    assert list(left.values()) == ["AWS::SecretsManager::Secret"]  # of the session, which the next sync creates
    for setting, value in TAKEN_BACK.items():
        assert back.body["Outputs"][uninstall.OUTPUTS[setting]]["Value"] == value
        for service in back.services.values():
            assert service.environment.get(setting.upper(), value) == value


def test_what_is_taken_back_is_granted_as_what_a_stack_creates(back: Template, prod: Template) -> None:
    tables = {
        f"{prod.referred(prod.body['Outputs'][uninstall.OUTPUTS[name]]['Value']).id}.Arn": (
            f"arn:aws:dynamodb:us-east-1:123456789012:table/{value}"
        )
        for name, value in TAKEN_BACK.items()
        if name.endswith("_table")
    }
    secrets = {
        f"{prod.referred(prod.body['Outputs'][uninstall.OUTPUTS[name]]['Value']).id}.Id": value
        for name, value in TAKEN_BACK.items()
        if name.endswith("_secret")
    }
    of_created = {**tables, **secrets}
    compared = 0
    for name, service in back.services.items():
        for of_back, of_prod in zip(service.statements, prod.services[name].statements, strict=True):
            assert of_back["Action"] == of_prod["Action"]
            created = text(of_prod["Resource"])
            assert text(of_back["Resource"]) == of_created.get(created, text(of_back["Resource"]))
            compared += created in of_created
    assert compared > len(of_created)


def test_what_refuses_requests_without_tls_stays_with_the_bucket(prod: Template) -> None:
    (policy,) = prod.of_type("AWS::S3::BucketPolicy")
    assert policy.body["DeletionPolicy"] == "RetainExceptOnCreate"


# The network


def inside(stack: Template) -> dict[str, ServiceWiring]:
    return {name: one for name, one in stack.services.items() if "VpcConfig" in one.function.properties}


def unserved(stack: Template, *, without: str = "") -> set[tuple[str, str]]:
    """Return (function, service of AWS) for each service that a function in the VPC calls, and has no endpoint for."""
    there = [one for one in stack.of_type("AWS::EC2::VPCEndpoint") if one.id != without]
    lacking = set()
    for name, service in inside(stack).items():
        subnets = {text(one) for one in service.function["VpcConfig"]["SubnetIds"]}
        tables = {
            text(one["RouteTableId"])
            for one in stack.of_type("AWS::EC2::SubnetRouteTableAssociation")
            if text(one["SubnetId"]) in subnets
        }
        reached = {
            text(one["ServiceName"]).rpartition(".")[2]
            for one in there
            if one["VpcEndpointType"] == "Interface" or tables <= {text(table) for table in one["RouteTableIds"]}
        }
        lacking |= {(name, called) for called in endpoints.called(actions(service.statements)) - reached}
    return lacking


def test_every_service_of_aws_that_a_function_calls_has_an_endpoint_and_no_other(everything: Template) -> None:
    assert unserved(everything) == set()
    for endpoint in everything.of_type("AWS::EC2::VPCEndpoint"):
        assert unserved(everything, without=endpoint.id), f"nobody would miss {endpoint.id}"


def test_the_estimate_of_the_cost_counts_the_endpoints_and_the_gateway(everything: Template) -> None:
    interfaces = [one for one in everything.of_type("AWS::EC2::VPCEndpoint") if one["VpcEndpointType"] == "Interface"]
    assert sum(len(one["SubnetIds"]) for one in interfaces) == cost.INTERFACE_ENDPOINTS
    assert len(everything.of_type("AWS::EC2::NatGateway")) == 1


def test_what_a_function_calls_by_its_permissions_is_what_its_code_makes_clients_for(everything: Template) -> None:
    """Tracing needs no client: the X-Ray daemon sends what the function hands it."""
    for name, service in everything.services.items():
        handler = (ROOT / "services" / name / "handler.py").read_text()
        clients = set(re.findall(r'\.(?:client|resource)\("(\w+)"', handler))
        assert clients | {"xray"} == endpoints.called(actions(service.statements))


def test_functions_are_in_two_zones_and_only_those_that_call_gopro_have_a_way_out(everything: Template) -> None:
    routed_out = {
        text(route["RouteTableId"])
        for route in everything.of_type("AWS::EC2::Route")
        if "NatGatewayId" in route.properties
    }
    for name, service in everything.services.items():
        subnets = {text(one) for one in service.function["VpcConfig"]["SubnetIds"]}
        zones = {json.dumps(everything.resources[one]["AvailabilityZone"]) for one in subnets}
        tables = {
            text(one["RouteTableId"])
            for one in everything.of_type("AWS::EC2::SubnetRouteTableAssociation")
            if text(one["SubnetId"]) in subnets
        }
        assert (len(subnets), len(zones)) == (2, 2)
        assert not any(everything.resources[one].properties.get("MapPublicIpOnLaunch") for one in subnets)
        assert tables <= routed_out if name != "summarizer" else tables & routed_out == set()


def test_nobody_can_connect_to_a_function_and_a_function_connects_only_over_https(
    everything: Template, given: Template
) -> None:
    for stack in (everything, given):
        for service in inside(stack).values():
            (group,) = service.function["VpcConfig"]["SecurityGroupIds"]
            rules = stack.referred(group)
            assert "SecurityGroupIngress" not in rules.properties
            (rule,) = rules["SecurityGroupEgress"]
            assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)
        assert stack.of_type("AWS::EC2::SecurityGroupIngress") == []


def test_only_the_functions_can_connect_to_an_endpoint(everything: Template) -> None:
    functions = everything.services["lister"].function["VpcConfig"]["SecurityGroupIds"][0]
    for endpoint in everything.of_type("AWS::EC2::VPCEndpoint"):
        if endpoint["VpcEndpointType"] == "Interface":
            (group,) = endpoint["SecurityGroupIds"]
            (rule,) = everything.referred(group)["SecurityGroupIngress"]
            assert (rule["SourceSecurityGroupId"], rule["FromPort"], rule["ToPort"]) == (functions, 443, 443)


def test_an_endpoint_takes_only_requests_of_this_account_unless_gopro_may_have_signed_them(
    everything: Template,
) -> None:
    free = [one for one in everything.of_type("AWS::EC2::VPCEndpoint") if "PolicyDocument" not in one.properties]
    assert [text(one["ServiceName"]) for one in free] == ["com.amazonaws.us-east-1.s3"]
    for endpoint in everything.of_type("AWS::EC2::VPCEndpoint"):
        if endpoint not in free:
            (statement,) = endpoint["PolicyDocument"]["Statement"]
            assert filled(statement["Condition"]) == {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}


def test_a_given_vpc_gets_nothing_but_a_security_group_and_the_downloader_can_stay_outside(given: Template) -> None:
    assert {one.id for one in given.resources.values() if one.body["Type"].startswith("AWS::EC2::")} == {
        given.referred(inside(given)["lister"].function["VpcConfig"]["SecurityGroupIds"][0]).id
    }
    assert set(inside(given)) == set(SERVICES) - {"downloader"}
    for service in inside(given).values():
        assert service.function["VpcConfig"]["SubnetIds"] == SUBNETS.split(",")


def test_lambda_may_make_network_interfaces_and_the_code_may_not(everything: Template, given: Template) -> None:
    for stack in (everything, given):
        for name, service in stack.services.items():
            about = [one for one in service.statements if "ec2:" in str(one["Action"])]
            if name not in inside(stack):
                assert about == []
                continue
            assert actions(about) == actions(about, "Deny") == LAMBDAS_INTERFACES
            (denied,) = (one for one in about if one["Effect"] == "Deny")
            functions = f"arn:aws:lambda:us-east-1:123456789012:function:{stack.stack}-*"
            assert filled(denied["Condition"]) == {"ArnLike": {"lambda:SourceFunctionArn": functions}}
            assert "FunctionName" not in service.function.properties, "CloudFormation names it after the stack"


def test_only_tracing_and_network_interfaces_are_allowed_on_all_resources(everything: Template) -> None:
    wide = [one for one in statements(everything) if one["Resource"] == "*" and one["Effect"] == "Allow"]
    assert actions(wide) == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"} | LAMBDAS_INTERFACES


def test_who_was_connected_to_whom_is_logged(everything: Template) -> None:
    (flows,) = everything.of_type("AWS::EC2::FlowLog")
    assert (flows["ResourceType"], flows["TrafficType"]) == ("VPC", "ALL")
    log_group = everything.referred(flows["LogGroupName"])
    assert log_group["RetentionInDays"] == 365
    role = everything.referred(flows["DeliverLogsPermissionArn"])
    (allowed,) = everything.statements_of(role)
    assert everything.referred(allowed["Resource"]) == log_group


# Boundary, tags, budget


def test_every_role_has_the_boundary(everything: Template, prod: Template) -> None:
    assert {role["PermissionsBoundary"] for role in everything.of_type("AWS::IAM::Role")} == {BOUNDARY}
    assert not any("PermissionsBoundary" in role.properties for role in prod.of_type("AWS::IAM::Role"))


def test_everything_that_can_have_tags_has_them(everything: Template, prod: Template) -> None:
    def tags(resource: Resource) -> dict[str, str]:
        found = resource.properties.get("Tags", {})
        return found if isinstance(found, dict) else {one["Key"]: one["Value"] for one in found}

    wanted = {"team": "video", "cost-center": "4711"}
    tagged = {one.id for one in everything.resources.values() if tags(one).items() >= wanted.items()}
    assert set(LEFT) <= tagged
    assert {service.function.id for service in everything.services.values()} <= tagged
    assert not any("Tags" in one.properties for one in prod.resources.values())


def test_a_budget_of_the_account_notifies_the_topic(everything: Template, prod: Template) -> None:
    (budget,) = everything.of_type("AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 25, "Unit": "USD"}
    assert "CostFilters" not in budget["Budget"]
    (topic,) = everything.of_type("AWS::SNS::Topic")
    notified = {
        (
            one["Notification"]["NotificationType"],
            one["Notification"]["Threshold"],
            text(one["Subscribers"][0]["Address"]),
        )
        for one in budget["NotificationsWithSubscribers"]
    }
    assert notified == {("FORECASTED", 100, topic.id), ("ACTUAL", 100, topic.id)}
    (policy,) = everything.of_type("AWS::SNS::TopicPolicy")
    (allowed,) = [one for one in policy["PolicyDocument"]["Statement"] if one.get("Sid") == "AllowBudgets"]
    assert filled(allowed["Condition"]) == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert policy.id in budget.body["DependsOn"]
    assert prod.of_type("AWS::Budgets::Budget") == []

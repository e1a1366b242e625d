"""A VPC for the functions, as an option: one that the stack creates, or one of the user's."""

from collections.abc import Iterable
from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import endpoints
from infra.config import CREATE, Settings
from infra.service import Service
from infra.suppressions import suppress, unsuppress

_ZONES = 2
_CIDR = "10.73.0.0/24"  # as small as five subnets and Lambda's few network interfaces allow
_OUTWARD, _INWARD, _PUBLIC = "Outward", "Inward", "Public"
_HTTPS = 443
_INTERFACES = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""What Lambda does with the role of a function in a VPC, as its documentation lists it."""


class Network(Construct):
    """The VPC, and the subnets and the security group of the functions.

    In a VPC of the user's, everything beyond the security group is the user's too: routes, endpoints, egress.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._vpc = self._create() if settings.vpc == CREATE else None
        self.vpc_id = self._vpc.vpc_id if self._vpc else str(settings.vpc)
        self.security_group = ec2.CfnSecurityGroup(
            self,
            "Functions",
            group_description="The functions of Cloud Sync: they call HTTPS servers, and nothing may call them",
            vpc_id=self.vpc_id,
            security_group_egress=[
                # The addresses of GoPro's CDN change. Those of S3 and DynamoDB are public too, behind their gateway
                # endpoints, and their prefix lists are not known before a deployment.
                ec2.CfnSecurityGroup.EgressProperty(
                    description="GoPro, and AWS through the endpoints",
                    ip_protocol="tcp",
                    from_port=_HTTPS,
                    to_port=_HTTPS,
                    cidr_ip="0.0.0.0/0",
                )
            ],
        )

    def _create(self) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(_CIDR),
            max_azs=_ZONES,
            # In one zone: a second one costs as much again, and while a zone is down, the queues keep all messages.
            nat_gateways=1,
            # Otherwise CDK deploys a function of its own for it. Nothing is in that group.
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name=_PUBLIC, subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28, map_public_ip_on_launch=False
                ),
                ec2.SubnetConfiguration(name=_OUTWARD, subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=27),
                ec2.SubnetConfiguration(name=_INWARD, subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=27),
            ],
        )
        self._log_flows(vpc)
        return vpc

    def _log_flows(self, vpc: ec2.Vpc) -> None:
        """Log who was connected to whom: about one line a connection and minute, and no content."""
        log_group = logs.LogGroup(
            self,
            "Flows",
            removal_policy=(
                cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
                if self._settings.is_production
                else cdk.RemovalPolicy.DESTROY
            ),
        )
        cast("logs.CfnLogGroup", log_group.node.default_child).retention_in_days = self._settings.log_retention_days
        suppress(
            log_group, "CKV_AWS_158", because="CloudWatch Logs encrypts with a key of its own; no secret is logged"
        )
        role = iam.Role(
            self,
            "FlowsRole",
            assumed_by=iam.ServicePrincipal(
                "vpc-flow-logs.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}},
            ),
        )
        policy = iam.Policy(self, "FlowsGrants", roles=[role])
        policy.add_statements(
            iam.PolicyStatement(
                actions=["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                resources=[log_group.log_group_arn],
            )
        )
        flows = ec2.CfnFlowLog(
            self,
            "FlowLog",
            resource_id=vpc.vpc_id,
            resource_type="VPC",
            traffic_type="ALL",
            max_aggregation_interval=600,
            log_destination_type="cloud-watch-logs",
            log_group_name=log_group.log_group_name,
            deliver_logs_permission_arn=role.role_arn,
        )
        flows.node.add_dependency(policy)

    def connect(self, services: Iterable[Service]) -> None:
        """Put the functions into the VPC, and there create an endpoint for each service of AWS that they call.

        To be called once, when all that the functions may do is known.
        """
        inside = [one for one in services if self._settings.vpc_functions == "all" or one.name != "downloader"]
        for service in inside:
            function = cast("lambda_.CfnFunction", service.function.node.default_child)
            function.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
                subnet_ids=self._subnets(outward=service.calls_gopro), security_group_ids=[self.security_group.ref]
            )
            unsuppress(service.function, "CKV_AWS_117")
            _let_lambda_attach(service)
        if self._vpc:
            self._add_endpoints(self._vpc, frozenset().union(*(endpoints.called(one.actions) for one in inside)))

    def _subnets(self, *, outward: bool) -> list[str]:
        """Return the subnets of a function. One that doesn't call GoPro gets those without a way out."""
        if not self._vpc:
            return list(self._settings.vpc_subnets)
        found = self._vpc.select_subnets(subnet_group_name=_OUTWARD if outward else _INWARD)
        return list(found.subnet_ids)

    def _add_endpoints(self, vpc: ec2.Vpc, called: frozenset[str]) -> None:
        group = self._endpoints_group()
        for service in sorted(called):
            if service in endpoints.GATEWAYS:
                for subnets in (_OUTWARD, _INWARD):
                    gateway = vpc.add_gateway_endpoint(
                        f"{service.title()}{subnets}",
                        service=ec2.GatewayVpcEndpointAwsService(service),
                        subnets=[ec2.SubnetSelection(subnet_group_name=subnets)],
                    )
                    # A URL that GoPro has signed for a bucket of its own comes from there, too.
                    if (service, subnets) != ("s3", _OUTWARD):
                        _only_for_this_account(gateway)
            else:
                interface = ec2.InterfaceVpcEndpoint(
                    self,
                    service.title(),
                    vpc=vpc,
                    service=ec2.InterfaceVpcEndpointAwsService(service),
                    # In one zone, as the NAT gateway is.
                    subnets=ec2.SubnetSelection(subnets=vpc.isolated_subnets[:1]),
                    security_groups=[group],
                    open=False,
                )
                _only_for_this_account(interface)

    def _endpoints_group(self) -> ec2.ISecurityGroup:
        group = ec2.CfnSecurityGroup(
            self,
            "Endpoints",
            group_description="Endpoints of AWS: the functions of Cloud Sync call them, and they call nobody",
            vpc_id=self.vpc_id,
            security_group_ingress=[
                ec2.CfnSecurityGroup.IngressProperty(
                    description="The functions of Cloud Sync",
                    ip_protocol="tcp",
                    from_port=_HTTPS,
                    to_port=_HTTPS,
                    source_security_group_id=self.security_group.ref,
                )
            ],
            # Without any rule, EC2 would add one that allows everything.
            security_group_egress=[
                ec2.CfnSecurityGroup.EgressProperty(
                    description="Nothing: this is no address of a host",
                    ip_protocol="icmp",
                    from_port=252,
                    to_port=86,
                    cidr_ip="255.255.255.255/32",
                )
            ],
        )
        return ec2.SecurityGroup.from_security_group_id(self, "EndpointsGroup", group.ref)


def _only_for_this_account(endpoint: ec2.GatewayVpcEndpoint | ec2.InterfaceVpcEndpoint) -> None:
    """Accept requests of this account alone, so that nothing is carried out with the credentials of another."""
    endpoint.add_to_policy(
        iam.PolicyStatement(
            principals=[iam.AnyPrincipal()],
            actions=["*"],
            resources=["*"],
            conditions={"StringEquals": {"aws:PrincipalAccount": cdk.Aws.ACCOUNT_ID}},
        )
    )


def _let_lambda_attach(service: Service) -> None:
    """Let Lambda, and not the function's own code, manage the function's network interfaces."""
    stack = cdk.Stack.of(service)
    service.may(*_INTERFACES, on="*")
    suppress(
        service.grants,
        "CKV_AWS_111",
        because="No interface is known beforehand, EC2 describes all or none, and a denial keeps the code out",
    )
    functions = stack.format_arn(
        service="lambda",
        resource="function",
        resource_name=f"{stack.stack_name}-*",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
    service.grants.add_statements(
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=[*_INTERFACES],
            resources=["*"],
            conditions={"ArnLike": {"lambda:SourceFunctionArn": functions}},
        )
    )

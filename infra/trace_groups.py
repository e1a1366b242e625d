"""X-Ray groups: the traces that an operator looks for, and a metric of how many there are."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_xray as xray
from constructs import Construct

from infra.service import Service


class TraceGroups(Construct):
    """A group of traces for each service, one for faults, and one for slow runs.

    A run is slow when it has taken more than half of its function's timeout.
    """

    def __init__(self, scope: Construct, construct_id: str, *, services: Sequence[Service]) -> None:
        super().__init__(scope, construct_id)
        for service in services:
            self._group(service.name, _of(service))
        self._group("faults", " OR ".join(f"{_of(service)} {{ fault }}" for service in services))
        self._group(
            "slow", " OR ".join(f"{_of(service)} {{ responsetime > {_slow(service)} }}" for service in services)
        )

    def _group(self, name: str, expression: str) -> None:
        xray.CfnGroup(
            self,
            name.title(),
            group_name=f"{cdk.Stack.of(self).stack_name}-{name}",
            filter_expression=expression,
            # Insights are charged by the trace, and find what the alarms ring for.
            insights_configuration=xray.CfnGroup.InsightsConfigurationProperty(insights_enabled=False),
        )


def _of(service: Service) -> str:
    """Return the expression for a service's function. Without its type it would also match calls of the function."""
    return f'service(id(name: "{service.function.function_name}", type: "AWS::Lambda::Function"))'


def _slow(service: Service) -> str:
    return f"{service.timeout.to_seconds() / 2:g}"

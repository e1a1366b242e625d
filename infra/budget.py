"""A monthly budget, as an option."""

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

_FORECAST, _ACTUAL = "FORECASTED", "ACTUAL"


class MonthlyBudget(Construct):
    """A budget of the whole account, which notifies the topic.

    Not only of this stack's cost: AWS counts that by a tag, and until somebody activates the tag in the billing
    console, such a budget counts nothing and never notifies.
    """

    def __init__(self, scope: Construct, construct_id: str, *, usd: int, topic: sns.Topic) -> None:
        super().__init__(scope, construct_id)
        allowed = topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AllowBudgets",
                principals=[iam.ServicePrincipal("budgets.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}},
            )
        )
        subscriber = budgets.CfnBudget.SubscriberProperty(address=topic.topic_arn, subscription_type="SNS")
        budget = budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=cdk.Stack.of(self).stack_name,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=usd, unit="USD"),
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind,
                        comparison_operator="GREATER_THAN",
                        threshold=100,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for kind in (_FORECAST, _ACTUAL)
            ],
        )
        # Budgets publishes a test message to a topic as soon as it is named.
        if allowed.policy_dependable:
            budget.node.add_dependency(allowed.policy_dependable)

"""AWS's list prices: one table, with the page that each is from."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.summarizer.page import prices

PRICES_OF = prices.PRICES_OF
SITE = "https://aws.amazon.com/"


@dataclass(frozen=True, kw_only=True)
class Price:
    """`page`: where on `SITE` AWS publishes it. What it was, and when, is in `PRICES_OF`."""

    usd: float
    per: str
    page: str


LAMBDA_GB_SECOND = Price(usd=prices.LAMBDA_GB_SECOND, per="GB-second, arm64", page="lambda/pricing/")
LAMBDA_REQUEST = Price(usd=prices.LAMBDA_REQUEST, per="invocation", page="lambda/pricing/")
EVENT = Price(usd=prices.EVENT, per="event of up to 64 KB", page="eventbridge/pricing/")
API_DESTINATION = Price(usd=0.20e-6, per="request; the connection's secret included", page="eventbridge/pricing/")
SQS_REQUEST = Price(usd=prices.SQS_REQUEST, per="request", page="sqs/pricing/")
TABLE_WRITE = Price(usd=prices.TABLE_WRITE, per="write of up to 1 KB", page="dynamodb/pricing/on-demand/")
TABLE_READ = Price(usd=prices.TABLE_READ, per="read of up to 4 KB", page="dynamodb/pricing/on-demand/")
TABLE_GB_MONTH = Price(usd=0.25, per="GB and month in a table, Standard", page="dynamodb/pricing/on-demand/")
TABLE_BACKUP_GB_MONTH = Price(
    usd=0.20, per="GB and month of recovery to a point in time", page="dynamodb/pricing/on-demand/"
)
S3_PUT = Price(usd=prices.S3_PUT, per="write, part of an upload or listing", page="s3/pricing/")
S3_GB_MONTH = Price(usd=prices.S3_GB_MONTH, per="GB and month, Standard", page="s3/pricing/")
SECRET_MONTH = Price(usd=0.40, per="secret and month", page="secrets-manager/pricing/")
KEY_MONTH = Price(usd=1.00, per="KMS key and month, before its first rotations", page="kms/pricing/")
ALARM_MONTH = Price(usd=0.10, per="metric of an alarm and month", page="cloudwatch/pricing/")
DASHBOARD_MONTH = Price(usd=3.00, per="dashboard of any number of metrics and month", page="cloudwatch/pricing/")
METRIC_MONTH = Price(usd=0.30, per="metric and month, by the hours in which it has values", page="cloudwatch/pricing/")
LOG_GB = Price(usd=0.50, per="GB written to a log", page="cloudwatch/pricing/")
LOG_GB_MONTH = Price(usd=0.03, per="GB and month in a log, compressed", page="cloudwatch/pricing/")
QUERY_GB = Price(usd=0.005, per="GB that a query of the logs reads", page="cloudwatch/pricing/")
TRACE = Price(usd=5.00e-6, per="trace", page="xray/pricing/")
NAT_HOUR = Price(usd=0.045, per="NAT gateway and hour", page="vpc/pricing/")
NAT_GB = Price(usd=0.045, per="GB through a NAT gateway, in either direction", page="vpc/pricing/")
ENDPOINT_HOUR = Price(usd=0.01, per="interface endpoint, zone and hour", page="privatelink/pricing/")

PRICES: Mapping[str, Price] = {name: value for name, value in globals().items() if isinstance(value, Price)}
"""All of them, by name."""

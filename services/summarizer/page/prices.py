"""AWS's list prices, and the requests that every medium causes."""

PRICES_OF = "us-east-1, USD, list prices as of November 2026, without free tiers"

# USD each
LAMBDA_GB_SECOND = 0.0000133334  # arm64
LAMBDA_REQUEST = 0.20e-6
EVENT = 1.00e-6
SQS_REQUEST = 0.40e-6
TABLE_WRITE = 0.625e-6
TABLE_READ = 0.125e-6
S3_PUT = 0.005e-3  # each part of an upload counts as one
S3_GB_MONTH = 0.023  # Standard

SQS_REQUESTS_PER_MESSAGE = 3  # send, receive, delete
TABLE_WRITES_PER_MEDIUM = 16  # leases, files and tallies; a write in a transaction counts twice

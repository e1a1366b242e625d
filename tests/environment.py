"""Keeps the tests away from the AWS settings of the shell that runs them.

A shell may name a profile, a region, credentials or an endpoint (`cloud-sync local up` prints such exports). A test
that takes them over talks to somebody's AWS or running stage, past moto and past the test's own stage.
"""

import os
from collections.abc import MutableMapping

# boto3 wants credentials before moto answers a call; these open nothing. A test that needs a region names it.
OF_THE_TESTS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_PREFIXES = ("AWS_", "BOTO", "CDK_", "CLOUD_SYNC_", "POWERTOOLS_")


def isolate(environment: MutableMapping[str, str] = os.environ) -> None:
    """Replace every AWS setting of a process by the tests' own; its children inherit those."""
    for name in [name for name in environment if name.startswith(_PREFIXES)]:
        del environment[name]
    environment.update(OF_THE_TESTS)

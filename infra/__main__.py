"""The CDK app: `cdk deploy -c env=dev|prod`."""

import os
import sys

from infra.config import Settings, SettingsError
from infra.node import NODE

os.environ["JSII_NODE"] = NODE

import aws_cdk as cdk

from infra.stack import CloudSync


def main() -> None:
    """Synthesize the stack that the CDK context asks for, or say what is wrong with it."""
    app = cdk.App(analytics_reporting=False)
    try:
        settings = Settings.from_context(app.node.get_all_context())
    except SettingsError as error:
        sys.exit(f"These settings can't be used:\n{error}")
    CloudSync(app, f"cloud-sync-{settings.env}", settings=settings)
    app.synth()


if __name__ == "__main__":
    main()

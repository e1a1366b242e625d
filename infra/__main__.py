"""The CDK app: `cdk deploy -c env=dev|prod`."""

import os
import sys
from pathlib import Path

from infra.config import Settings, SettingsError, overrides
from infra.node import NODE
from infra.settings_file import NO_FILE, SettingsFile, UnreadableFile, read_settings_file

os.environ["JSII_NODE"] = NODE

import aws_cdk as cdk

from infra.stack import CloudSync

_FILE = Path(__file__).resolve().parent.parent / "cloud-sync.toml"


def main() -> None:
    """Synthesize the stack, or print why its settings are refused.

    The settings come from the CDK context (`-c name=value`) and from cloud-sync.toml. The environment variable
    CLOUD_SYNC_SETTINGS names another file.
    """
    app = cdk.App(analytics_reporting=False)
    context = app.node.get_all_context()
    try:
        file = _settings_file()
        settings = Settings.from_context(context, file)
    except (SettingsError, UnreadableFile) as error:
        sys.exit(f"These settings are refused:\n{error}")
    if not settings.is_local:
        for line in overrides(context, file, settings):
            print(line, file=sys.stderr)
    CloudSync(app, f"cloud-sync-{settings.env}", settings=settings)
    app.synth()


def _settings_file() -> SettingsFile:
    named = os.environ.get("CLOUD_SYNC_SETTINGS")
    return read_settings_file(Path(named or _FILE)) if named or _FILE.exists() else NO_FILE


if __name__ == "__main__":
    main()

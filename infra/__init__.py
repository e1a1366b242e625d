"""The stack that runs Cloud Sync, for AWS and for the local stage alike."""

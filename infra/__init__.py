"""The stack that runs Cloud Sync, on AWS and on the local stage."""

"""The platform itself: domain, adapters and command line. Never imports dagster."""

"""The platform itself: domain, adapters and command line. Never imports dagster."""

import zoneinfo

# Time zone rules come from the pinned package `tzdata`, not from whatever the machine has: British Columbia stays on
# daylight saving time from November 2026, which the engine knows and an older machine does not, and an hour that
# depends on the machine is no civil time.
zoneinfo.reset_tzpath(to=())

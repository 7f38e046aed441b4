"""The platform itself: domain, adapters and command line. Never imports dagster."""

import os
import zoneinfo

# Time zone rules come from the pinned package `tzdata`, not from whatever the machine has: British Columbia stays on
# daylight saving time from November 2026, which the engine knows and an older machine does not, and an hour that
# depends on the machine is no civil time.
zoneinfo.reset_tzpath(to=())

# Arrow gives memory back to the system 10 ms after its last use and asks for it again with the next batch; clearing the
# pages was a tenth of landing's processor time. After a second it is given back as well. Arrow reads this when loaded.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")  # milliseconds

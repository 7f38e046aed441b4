"""`python -m city_platform`: the command `city-platform`, where no script was installed for it."""

from city_platform.cli import main

main()

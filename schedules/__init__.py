"""What happens by the clock, in the city's time."""

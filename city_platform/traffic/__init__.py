"""Traffic: from a sensor's reading to exact figures of every zone, ten seconds at a time."""

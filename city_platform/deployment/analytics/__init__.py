"""What the datasets' folders need on AWS to be queried, profiled and shown: the resources of `analytics.yaml`."""

"""MQTT on one machine: certificates, the two brokers, and both ends of them."""

"""Entry points of AWS Lambda: each reads its environment once, and hands events to the domain."""

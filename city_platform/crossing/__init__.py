"""What traffic and incidents say of each other (docs/decisions/0038-systems-that-explain-each-other.md)."""

"""The city's open data portal: Opendatasoft Explore v2.1, read through its exports."""

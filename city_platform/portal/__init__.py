"""The open data portal (Opendatasoft Explore API v2.1): what it says of a dataset, and its rows as one file."""

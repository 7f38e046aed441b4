"""Any source file the city publishes, turned into verified rows by year.

`formats` recognises a file by its content, `headers` matches it with the contract, `split` writes one Parquet file a
year and keeps apart what could not be read or placed. Nothing here knows the lake: files in, files out.
"""

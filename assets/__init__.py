"""Every dataset as assets, one module a layer. Work is done in `city_platform.layers`; here it is put in the graph."""

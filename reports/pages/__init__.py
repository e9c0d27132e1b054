"""The reports, one module each: what they say, before a template gives it its form."""

"""Options of models in tests."""


def merge_options(*options):
    """Return the union of option dicts; groups of options are merged key by key, the last value wins."""
    merged = {}
    for given in options:
        for name, value in given.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = {**merged[name], **value} if both else value
    return merged

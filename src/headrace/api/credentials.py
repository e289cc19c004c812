"""How a key is shown, at every door: ``Authorization: Bearer KEY``, or ``X-API-Key: KEY`` as gateways send it."""


def shown_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """Return the key that the values of the two headers show, if they show one."""
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key else x_api_key

"""cartstream: a retailer's clicks in; e-mail, SMS and push out, each message exactly once and never after the purchase."""

__version__ = "0.1.0"

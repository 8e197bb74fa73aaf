"""E-mail, SMS and push: each its own process, draining `commands.<channel>` into a provider."""

"""The peers that run on Python. Each is started by ../engines.py in a virtual environment of its own."""

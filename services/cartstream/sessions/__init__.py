"""Sessions: what each device is doing, and what is in the customer's cart."""

"""Products: what changed in the shop, told to every partition of detection."""

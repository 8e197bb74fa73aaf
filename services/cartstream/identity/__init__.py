"""Identity: which device, login, e-mail, phone or loyalty card belongs to whom."""

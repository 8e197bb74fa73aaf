"""Drills: one traffic file replayed twice over real servers, once undisturbed and once disturbed, and held against each other."""

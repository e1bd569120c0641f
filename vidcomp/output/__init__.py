"""Predictions to what somebody reads: terminal table, JSON, JSON Lines, CSV."""

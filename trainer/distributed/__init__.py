"""Shares training out among processes: collectives, batch shares and sharded weights."""

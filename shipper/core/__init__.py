"""Every decision of the shipper, and no effect: no I/O, clock, randomness, logging or asyncio in here."""

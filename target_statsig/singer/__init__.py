"""Singer messages: reading them, their records and schemas, STATEs, and dead letters."""

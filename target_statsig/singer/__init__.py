"""What comes in and what goes back: Singer messages, their records, STATEs and dead letters."""

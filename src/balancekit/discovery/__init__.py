"""Who is there at all? Sources of endpoints, followed in threads or on asyncio, over one schedule."""

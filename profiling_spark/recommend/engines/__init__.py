"""The engines: how each is fitted and scores customers, how its settings are found, how it is stored."""

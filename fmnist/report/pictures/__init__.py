"""Pictures of records: what they show is theirs, how they are drawn is in `plots`."""

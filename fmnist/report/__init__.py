"""From records to tables. Reads files and nothing else; starts no framework."""

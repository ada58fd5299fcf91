"""What leads a session: its plan, its workers one after the other, its records. No framework."""

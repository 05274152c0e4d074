"""What people look at: tables and drawn pictures."""

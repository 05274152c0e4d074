"""What people look at: tables and drawn images."""

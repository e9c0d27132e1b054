"""What all commands share: jobs in processes of their own, folders that survive a kill, and the session that trains."""

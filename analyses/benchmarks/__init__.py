"""What probrev costs, beside what else a user could pick and what it cannot do without."""

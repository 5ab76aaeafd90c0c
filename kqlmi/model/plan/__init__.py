"""Plans: how a change is drafted, described, saved and identified."""

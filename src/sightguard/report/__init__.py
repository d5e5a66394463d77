"""From a run folder to a page: `sightguard.report.page` writes it, `sightguard.report.terminal` prints the headline."""

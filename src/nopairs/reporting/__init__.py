"""Tables, figures and the report: everything here reads files only."""

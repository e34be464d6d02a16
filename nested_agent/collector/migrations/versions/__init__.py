"""One module for each change of the schema; a change that was released is never edited."""

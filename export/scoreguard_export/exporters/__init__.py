"""From a metric or a defence to the files that the server runs."""

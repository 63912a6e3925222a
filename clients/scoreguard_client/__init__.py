"""Run time, user side: score pictures, attack the endpoint, report how robust the score is."""
